/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_autoballoon.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_SIZE = 16, CONF_SIZE = 16 << 10 };

static const char blanks[] = " \t";

/* The value of `autoballoon = VALUE` or `= "VALUE"` in this line. */
static bool
read_line(const char *line, char value[VALUE_SIZE])
{
    static const char key[] = "autoballoon";
    size_t length;

    line += strspn(line, blanks);
    if (strncmp(line, key, sizeof(key) - 1) != 0)
        return false;
    line += sizeof(key) - 1;
    line += strspn(line, blanks);
    if (*line != '=')
        return false;
    line++;
    line += strspn(line, " \t\"'");
    length = strcspn(line, " \t\"'\n#;");
    if (length >= VALUE_SIZE)
        return false;
    memcpy(value, line, length);
    value[length] = '\0';
    return true;
}

/* As xl does it: a fixed size of domain 0 means that it isn't to be changed. */
static bool
has_fixed_size(const char *command_line)
{
    const char *at = command_line;

    while ((at = strstr(at, "dom0_mem="))) {
        if (at == command_line || at[-1] == ' ')
            return true;
        at++;
    }
    return false;
}

bool
xen_autoballoon_is_on(const char *xl_conf, const char *command_line)
{
    char value[VALUE_SIZE] = "auto";

    /* A later setting wins. */
    for (const char *line = xl_conf; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        read_line(line, value);
    }
    if (!strcmp(value, "on") || !strcmp(value, "1"))
        return true;
    return !strcmp(value, "auto") && command_line &&
           !has_fixed_size(command_line);
}

bool
xen_autoballoon_look(const char *path, const char *command_line)
{
    char text[CONF_SIZE];
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return xen_autoballoon_is_on(text, command_line);
}
