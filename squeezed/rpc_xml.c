/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XML-RPC: texts into calls, values into texts.  expat reads; a document type
 * (and with it every entity of somebody's own) is refused, and so is what is
 * nested too deeply. */
#include "squeezed/rpc_internal.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- elements */

enum kind {
    DOCUMENT, /* around everything */
    CALL,
    METHOD,
    PARAMS,
    PARAM,
    VALUE,
    SCALAR,
    NIL,
    ARRAY,
    DATA,
    STRUCT,
    MEMBER,
    NAME
};

#define IN(kind) (1u << (kind))

/* How a scalar is read; false: that can't be one. */
typedef bool
read_scalar(const char *text, size_t length, json_t **ret);

static read_scalar read_text, read_integer, read_boolean, read_double;

/* clang-format off */
static const struct element {
    const char *name;
    enum kind kind;
    unsigned parents; /* where it may stand */
    read_scalar *read;
} elements[] = {
    { "methodCall", CALL, IN(DOCUMENT), NULL },
    { "methodName", METHOD, IN(CALL), NULL },
    { "params", PARAMS, IN(CALL), NULL },
    { "param", PARAM, IN(PARAMS), NULL },
    { "value", VALUE, IN(PARAM) | IN(DATA) | IN(MEMBER), NULL },
    { "string", SCALAR, IN(VALUE), read_text },
    { "int", SCALAR, IN(VALUE), read_integer },
    { "i4", SCALAR, IN(VALUE), read_integer },
    { "i8", SCALAR, IN(VALUE), read_integer },
    { "ex:i8", SCALAR, IN(VALUE), read_integer },
    { "boolean", SCALAR, IN(VALUE), read_boolean },
    { "double", SCALAR, IN(VALUE), read_double },
    { "dateTime.iso8601", SCALAR, IN(VALUE), read_text },
    { "base64", SCALAR, IN(VALUE), read_text },
    { "nil", NIL, IN(VALUE), NULL },
    { "ex:nil", NIL, IN(VALUE), NULL },
    { "array", ARRAY, IN(VALUE), NULL },
    { "data", DATA, IN(ARRAY), NULL },
    { "struct", STRUCT, IN(VALUE), NULL },
    { "member", MEMBER, IN(STRUCT), NULL },
    { "name", NAME, IN(MEMBER), NULL },
};
/* clang-format on */

/* An element that is open. */
struct frame {
    const struct element *element; /* NULL: DOCUMENT */
    json_t *value;                 /* what it has come to; NULL: nothing yet */
    char *name;                    /* MEMBER */
};

struct reader {
    XML_Parser parser;
    struct frame frames[LIMIT_XML_DEPTH];
    size_t depth;
    char *text; /* since the last tag; room for all of the document */
    size_t text_length;
    char *method;
    json_t *params;
    char *message; /* what is wrong */
    size_t message_size;
    bool wrong;
};

static const char blanks[] = " \t\r\n";

static void __attribute__((format(printf, 2, 3)))
refuse(struct reader *r, const char *format, ...)
{
    va_list arguments;
    int n;

    if (r->wrong)
        return;
    r->wrong = true;
    n = snprintf(r->message, r->message_size,
                 "this is no XML-RPC call: line %lu: ",
                 XML_GetCurrentLineNumber(r->parser));
    va_start(arguments, format);
    if (n > 0 && (size_t)n < r->message_size)
        vsnprintf(r->message + n, r->message_size - (size_t)n, format,
                  arguments);
    va_end(arguments);
    XML_StopParser(r->parser, XML_FALSE);
}

/* ----------------------------------------------------------------- scalars */

static bool
read_text(const char *text, size_t length, json_t **ret)
{
    *ret = json_stringn(text, length);
    return *ret != NULL;
}

/* One that no reader can hold stays a text, as those of JSON do. */
static bool
read_integer(const char *text, size_t length, json_t **ret)
{
    long long number;
    char *end;

    (void)length;
    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || end[strspn(end, blanks)] != '\0')
        return false;
    if (errno == ERANGE)
        *ret = json_sprintf("%c%.*s", RPC_BIG_NUMBER, (int)(end - text), text);
    else
        *ret = json_integer(number);
    return *ret != NULL;
}

static bool
read_boolean(const char *text, size_t length, json_t **ret)
{
    (void)length;
    text += strspn(text, blanks);
    *ret = json_boolean(text[0] == '1');
    return (text[0] == '0' || text[0] == '1') &&
           text[1 + strspn(text + 1, blanks)] == '\0';
}

static bool
read_double(const char *text, size_t length, json_t **ret)
{
    char *end;
    double number = strtod(text, &end);

    (void)length;
    if (end == text || end[strspn(end, blanks)] != '\0')
        return false;
    *ret = json_real(number); /* NULL for one that is not finite */
    return *ret != NULL;
}

/* ----------------------------------------------------------------- reading */

static const struct element *
find_element(const char *name)
{
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (strcmp(elements[i].name, name) == 0)
            return &elements[i];
    return NULL;
}

static struct frame *
top(struct reader *r)
{
    return &r->frames[r->depth - 1];
}

static enum kind
kind_of(const struct frame *frame)
{
    return frame->element ? frame->element->kind : DOCUMENT;
}

static bool
text_is_blank(struct reader *r)
{
    r->text[r->text_length] = '\0';
    return strspn(r->text, blanks) == r->text_length;
}

/* Each element but these stands in its place once. */
static bool
comes_twice(struct reader *r, enum kind kind)
{
    switch (kind) {
    case CALL:
    case METHOD:
        return r->method != NULL;
    case PARAMS:
        return r->params != NULL;
    case PARAM:
    case MEMBER:
        return false;
    case NAME:
        return top(r)->name != NULL;
    default:
        return top(r)->value && kind_of(top(r)) != DATA;
    }
}

static void
on_start(void *arg, const char *name, const char **attributes)
{
    struct reader *r = arg;
    const struct element *element = find_element(name);

    (void)attributes;
    if (!element || !(element->parents & IN(kind_of(top(r))))) {
        refuse(r, "<%.40s> may not stand here", name);
        return;
    }
    if (!text_is_blank(r)) {
        refuse(r, "there is a text before <%.40s>", name);
        return;
    }
    if (comes_twice(r, element->kind)) {
        refuse(r, "<%.40s> stands here twice", name);
        return;
    }
    if (r->depth == LIMIT_XML_DEPTH) {
        refuse(r, "more than %d elements are open", LIMIT_XML_DEPTH - 1);
        return;
    }
    r->text_length = 0;
    r->frames[r->depth++] = (struct frame){ .element = element };
    if (element->kind == PARAMS)
        r->params = json_array();
    if (element->kind == DATA)
        top(r)->value = json_array();
    if (element->kind == STRUCT)
        top(r)->value = json_object();
}

/* What an element has come to, for the one around it. */
static json_t *
take_value(struct reader *r, struct frame *frame)
{
    json_t *value = frame->value;

    frame->value = NULL;
    switch (kind_of(frame)) {
    case SCALAR:
        if (!frame->element->read(r->text, r->text_length, &value))
            refuse(r, "'%.40s' is no <%s>", r->text, frame->element->name);
        return value;
    case VALUE:
        return value ? value : json_stringn(r->text, r->text_length);
    case ARRAY:
        return value ? value : json_array();
    case NIL:
    case PARAM:
        return value ? value : json_null();
    default:
        return value;
    }
}

static void
end_member(struct reader *r, struct frame *member, struct frame *around)
{
    if (!member->name || !member->value)
        refuse(r, "a <member> has a <name> and a <value>");
    else
        json_object_set(around->value, member->name, member->value);
}

static char *
trimmed_text(struct reader *r)
{
    size_t from = strspn(r->text, blanks);
    size_t to = r->text_length;

    while (to > from && strchr(blanks, r->text[to - 1]))
        to--;
    return strndup(r->text + from, to - from);
}

static bool
holds_text(const struct frame *frame)
{
    enum kind kind = kind_of(frame);

    return kind == METHOD || kind == NAME || kind == SCALAR ||
           (kind == VALUE && !frame->value);
}

/* Hands what `frame` has come to on. */
static void
end_frame(struct reader *r, struct frame *frame, struct frame *around)
{
    json_t *value;

    switch (kind_of(frame)) {
    case METHOD:
        r->method = trimmed_text(r);
        break;
    case NAME:
        around->name = strndup(r->text, r->text_length);
        break;
    case MEMBER:
        end_member(r, frame, around);
        break;
    case CALL:
    case PARAMS:
        break;
    default:
        value = take_value(r, frame);
        if (kind_of(around) == PARAMS)
            json_array_append_new(r->params, value);
        else if (kind_of(around) == DATA)
            json_array_append_new(around->value, value);
        else
            around->value = value;
        break;
    }
}

static void
on_end(void *arg, const char *name)
{
    struct reader *r = arg;
    struct frame *frame = top(r);

    if (r->wrong)
        return;
    if (!holds_text(frame) && !text_is_blank(r)) {
        refuse(r, "there is a text before </%.40s>", name);
        return;
    }
    r->text[r->text_length] = '\0';
    end_frame(r, frame, frame - 1);
    json_decref(frame->value);
    free(frame->name);
    r->depth--;
    r->text_length = 0;
}

static void
on_text(void *arg, const char *text, int length)
{
    struct reader *r = arg;

    memcpy(r->text + r->text_length, text, (size_t)length);
    r->text_length += (size_t)length;
}

static void
on_doctype(void *arg, const char *name, const char *system_id,
           const char *public_id, int has_subset)
{
    struct reader *r = arg;

    (void)name, (void)system_id, (void)public_id, (void)has_subset;
    refuse(r, "document types and entities are not read");
}

static void
parse(struct reader *r, const char *text, size_t length, bool *ret_formed)
{
    enum XML_Status status;

    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
    status = XML_Parse(r->parser, text, (int)length, XML_TRUE);
    *ret_formed = r->wrong || status == XML_STATUS_OK;
    if (status == XML_STATUS_OK && !r->method)
        refuse(r, "it has no <methodName>");
    if (!*ret_formed)
        snprintf(r->message, r->message_size,
                 "this is no XML: line %lu, column %lu: %s",
                 XML_GetCurrentLineNumber(r->parser),
                 XML_GetCurrentColumnNumber(r->parser),
                 XML_ErrorString(XML_GetErrorCode(r->parser)));
}

static void
done(struct reader *r)
{
    while (r->depth > 0) {
        struct frame *frame = &r->frames[--r->depth];

        json_decref(frame->value);
        free(frame->name);
    }
    if (r->parser)
        XML_ParserFree(r->parser);
    json_decref(r->params);
    free(r->method);
    free(r->text);
}

json_t *
rpc_xml_read(const char *text, size_t length, bool *ret_formed, char *message,
             size_t size)
{
    struct reader r = { .depth = 1, .message = message, .message_size = size };
    json_t *root = NULL;

    /* Blanks first, for a declaration has to be. */
    for (; length > 0 && strchr(blanks, *text) && *text; text++)
        length--;
    *ret_formed = true;
    snprintf(message, size, "out of memory");
    r.parser = XML_ParserCreate(NULL);
    /* A byte of another encoding may become three of UTF-8. */
    r.text = length <= LIMIT_BODY_BYTES ? malloc(3 * length + 1) : NULL;
    if (r.parser && r.text) {
        parse(&r, text, length, ret_formed);
        if (*ret_formed && !r.wrong)
            root =
                json_pack("{s:s,s:O?}", "method", r.method, "params", r.params);
    }
    done(&r);
    return root;
}

/* ----------------------------------------------------------------- writing */

/* What stands for a character that XML has special ideas of; NULL: itself.
 * Control characters and U+FFFE, U+FFFF are none at all there. */
static const char *
escape(const char *at, size_t *ret_length)
{
    unsigned char c = (unsigned char)*at;

    *ret_length = 1;
    if (strncmp(at, "\xef\xbf\xbe", 3) == 0 ||
        strncmp(at, "\xef\xbf\xbf", 3) == 0) {
        *ret_length = 3;
        return "?";
    }
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\r':
        return "&#13;";
    default:
        return c < ' ' && c != '\t' && c != '\n' ? "?" : NULL;
    }
}

static void
write_text(FILE *out, const char *text)
{
    while (*text) {
        size_t length;
        const char *instead = escape(text, &length);

        if (instead)
            fputs(instead, out);
        else
            putc(*text, out);
        text += length;
    }
}

/* Answers are nested as deeply as we make them.
 * NOLINTBEGIN(misc-no-recursion) */
static void
write_value(FILE *out, const json_t *value);

static void
write_array(FILE *out, const json_t *array)
{
    fputs("<array><data>", out);
    for (size_t i = 0; i < json_array_size(array); i++)
        write_value(out, json_array_get(array, i));
    fputs("</data></array>", out);
}

static void
write_struct(FILE *out, const json_t *object)
{
    const char *name;
    json_t *value;

    fputs("<struct>", out);
    json_object_foreach((json_t *)object, name, value)
    {
        fputs("<member><name>", out);
        write_text(out, name);
        fputs("</name>", out);
        write_value(out, value);
        fputs("</member>", out);
    }
    fputs("</struct>", out);
}

/* Texts and integers are bare: what toolstacks send and read. */
static void
write_value(FILE *out, const json_t *value)
{
    fputs("<value>", out);
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_struct(out, value);
        break;
    case JSON_ARRAY:
        write_array(out, value);
        break;
    case JSON_STRING:
        write_text(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "<double>%.6f</double>", json_real_value(value));
        break;
    case JSON_NULL:
        fputs("<nil/>", out);
        break;
    default:
        fprintf(out, "<boolean>%d</boolean>", json_is_true(value));
        break;
    }
    fputs("</value>", out);
}
/* NOLINTEND(misc-no-recursion) */

static char *
write_response(const char *status, const char *name, const json_t *value)
{
    char *text = NULL;
    size_t size;
    FILE *out = value ? open_memstream(&text, &size) : NULL;

    if (!out)
        return NULL;
    fprintf(out,
            "<?xml version=\"1.0\"?>"
            "<methodResponse><params><param><value><struct>"
            "<member><name>Status</name><value>%s</value></member>"
            "<member><name>%s</name>",
            status, name);
    write_value(out, value);
    fputs("</member></struct></value></param></params></methodResponse>", out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static char *
write_result(const struct rpc_call *call, const json_t *value)
{
    (void)call;
    return write_response("Success", "Value", value);
}

static char *
write_error(const struct rpc_call *call, const json_t *error)
{
    (void)call;
    return write_response("Failure", "ErrorDescription", error);
}

const struct rpc_form rpc_xml = {
    .type = "text/xml",
    .write_result = write_result,
    .write_error = write_error,
    .loose_numbers = true,
};
