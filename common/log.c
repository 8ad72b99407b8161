/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The daemon must not wait for whoever takes its log: journal and syslog get
 * datagrams, which are dropped when they are not taken.  (syslog(3) and
 * sd_journal_send(3) would block.) */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_SOCKET  "/dev/log"
#define LOG_DAEMON_BIT (3 << 3) /* syslog's facility "daemon" */

#define TEXT_BYTES 2048 /* of a message; what is longer ends in "..." */
#define LINE_BYTES (TEXT_BYTES + 256)

/* Lays text out as one record for the sink; returns its length. */
typedef int
log_layout(char *line, size_t size, enum log_level level, const char *text);

static log_layout layout_terminal, layout_file, layout_syslog, layout_journal;

/* The only mutable global of the house. */
static struct {
    enum log_level level;
    log_layout *layout;
    int fd;             /* of a file, or of a datagram socket; -1: stderr */
    const char *socket; /* where datagrams go; NULL for files */
    char name[64];      /* syslog's tag */
} sink = { .level = LEVEL_INFO, .layout = layout_terminal, .fd = -1 };

static const struct {
    const char *name;
    int priority; /* syslog's */
} levels[] = {
    [LEVEL_ERROR] = { "error", 3 },
    [LEVEL_WARNING] = { "warning", 4 },
    [LEVEL_INFO] = { "info", 6 },
    [LEVEL_DEBUG] = { "debug", 7 },
};

static int
layout_terminal(char *line, size_t size, enum log_level level, const char *text)
{
    return snprintf(line, size, "%s: %s%s%s\n", program_invocation_short_name,
                    level == LEVEL_INFO ? "" : levels[level].name,
                    level == LEVEL_INFO ? "" : ": ", text);
}

static int
layout_file(char *line, size_t size, enum log_level level, const char *text)
{
    struct timespec now;
    struct tm tm;
    char stamp[32];

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    return snprintf(line, size, "%s.%03d %s[%d] %s: %s\n", stamp,
                    (int)(now.tv_nsec / 1000000), program_invocation_short_name,
                    (int)getpid(), levels[level].name, text);
}

/* RFC 3164, as syslog(3) sends it. */
static int
layout_syslog(char *line, size_t size, enum log_level level, const char *text)
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%h %e %T", &tm);
    return snprintf(line, size, "<%d>%s %s[%d]: %s",
                    LOG_DAEMON_BIT | levels[level].priority, stamp, sink.name,
                    (int)getpid(), text);
}

/* systemd's native protocol; text has no newline. */
static int
layout_journal(char *line, size_t size, enum log_level level, const char *text)
{
    return snprintf(
        line, size, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n",
        levels[level].priority, program_invocation_short_name, text);
}

/* Takes the place of what was open. */
static void
replace_sink(log_layout *layout, int fd, const char *socket)
{
    if (sink.fd >= 0)
        close(sink.fd);
    sink.layout = layout;
    sink.fd = fd;
    sink.socket = socket;
}

/* An absent receiver is no error: it may come later.  Until then lines go to
 * stderr. */
static bool
open_datagrams(log_layout *layout, const char *socket_path)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    replace_sink(layout, fd, socket_path);
    return true;
}

static bool
open_file(const char *path)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);

    if (fd < 0)
        return false;
    replace_sink(layout_file, fd, NULL);
    return true;
}

/* systemd names the journal's stream that it gave us as stderr. */
static bool
stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream != NULL &&
           sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
           status.st_ino == inode;
}

bool
log_open(const char *name)
{
    static const char syslog_prefix[] = "syslog:";
    const size_t prefix = sizeof syslog_prefix - 1;

    if (strcmp(name, "auto") == 0)
        name = stderr_is_journal() ? "journal" : "stderr";
    if (strcmp(name, "stderr") == 0) {
        replace_sink(layout_terminal, -1, NULL);
        return true;
    }
    if (strcmp(name, "journal") == 0)
        return open_datagrams(layout_journal, JOURNAL_SOCKET);
    if (strncmp(name, syslog_prefix, prefix) == 0) {
        if (!open_datagrams(layout_syslog, SYSLOG_SOCKET))
            return false;
        snprintf(sink.name, sizeof sink.name, "%s", name + prefix);
        return true;
    }
    return open_file(name);
}

void
log_set_level(enum log_level level)
{
    sink.level = level;
}

bool
log_parse_level(const char *text, enum log_level *ret)
{
    for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(levels[i].name, text) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* C0 controls, DEL, and in UTF-8 the C1 controls (C2 80 to C2 9F), which some
 * terminals obey as well. */
static void
blunt_controls(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;

        if (*p < ' ' || *p == 127)
            *p = '?';
        else if (c1)
            p[0] = p[1] = '?';
    }
}

static bool
send_datagram(const char *line, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", sink.socket);
    return sendto(sink.fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (struct sockaddr *)&address, sizeof address) >= 0 ||
           errno == EAGAIN || errno == ENOBUFS;
}

/* A record, cut where line ends (only a program of a very long name gets
 * there). */
static size_t
lay_out(log_layout *layout, char line[LINE_BYTES], enum log_level level,
        const char *text)
{
    int length = layout(line, LINE_BYTES, level, text);

    if (length < 0)
        return 0;
    return length < LINE_BYTES ? (size_t)length : LINE_BYTES - 1;
}

static void
write_line(log_layout *layout, int fd, enum log_level level, const char *text)
{
    char line[LINE_BYTES];
    size_t length = lay_out(layout, line, level, text);

    /* A full disk or a closed stderr must not stop the daemon. */
    if (write(fd, line, length) < 0)
        return;
}

static void
emit(enum log_level level, const char *text)
{
    char line[LINE_BYTES];
    int fd = sink.fd < 0 ? STDERR_FILENO : sink.fd;

    if (sink.socket == NULL)
        write_line(sink.layout, fd, level, text);
    else if (!send_datagram(line, lay_out(sink.layout, line, level, text)))
        write_line(layout_terminal, STDERR_FILENO, level, text);
}

void
log_at(enum log_level level, const char *format, ...)
{
    char text[TEXT_BYTES];
    int saved_errno = errno;
    va_list args;

    if (level > sink.level)
        return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    blunt_controls(text);
    emit(level, text);
    errno = saved_errno;
}
