/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json-get: values out of a JSON text on standard input, one a line.
 *
 *   json-get PATH…
 *
 * A path is names and indices joined by dots: host.free_kib, domains.0.name.
 * In an array, `#` is the number of its elements, and KEY=VALUE the first
 * element whose KEY is that: domains.name=a.target_kib.  The empty path is the
 * whole text.  Objects and arrays are printed as JSON.  A path that leads
 * nowhere prints "-" and makes the exit status 1; no JSON at all: 2.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value as text, without the quotes of a string; the caller frees it. */
static char *
text_of(const json_t *value)
{
    if (json_is_string(value))
        return strdup(json_string_value(value));
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static bool
has_value(const json_t *element, const char *key, const char *wanted)
{
    const json_t *value = json_object_get(element, key);
    char *text = value != NULL ? text_of(value) : NULL;
    bool same = text != NULL && strcmp(text, wanted) == 0;

    free(text);
    return same;
}

static json_t *
array_step(const json_t *array, char *step)
{
    char *equals = strchr(step, '=');
    size_t i;
    json_t *element;

    if (equals == NULL)
        return json_array_get(array, strtoul(step, NULL, 10));
    *equals = '\0';
    json_array_foreach(array, i, element)
    {
        if (has_value(element, step, equals + 1))
            return element;
    }
    return NULL;
}

static bool
print_value(const json_t *value)
{
    char *text = value != NULL ? text_of(value) : NULL;

    puts(text != NULL ? text : "-");
    free(text);
    return value != NULL;
}

/* path is used up. */
static bool
print_path(const json_t *value, char *path)
{
    char *rest = path;
    char *step;

    while (value != NULL && (step = strsep(&rest, ".")) != NULL) {
        if (*step == '\0')
            continue;
        if (json_is_array(value) && strcmp(step, "#") == 0) {
            printf("%zu\n", json_array_size(value));
            return true;
        }
        value = json_is_array(value) ? array_step(value, step)
                                     : json_object_get(value, step);
    }
    return print_value(value);
}

int
main(int argc, char **argv)
{
    json_error_t error;
    json_t *root = json_loadf(stdin, JSON_DECODE_ANY, &error);
    int status = 0;

    if (root == NULL) {
        fprintf(stderr, "json-get: no JSON: line %d: %s\n", error.line,
                error.text);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (!print_path(root, argv[i]))
            status = 1;
    }
    json_decref(root);
    return status;
}
