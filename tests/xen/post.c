/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* post: one HTTP call over a Unix socket, as XAPI's client makes it.
 *
 *   post SOCKET < body > answer
 *
 * One call a connection, only the two headers that the client sends.  Exit
 * status: 0 the answer has status 200; 1 it has another one; 2 there is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LARGEST = 65536 };

static int
connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)))
        return -1;
    return fd;
}

/* Reads to the end of the answer: Content-Length after the headers. */
static size_t
read_answer(int fd, char *buffer, size_t size)
{
    size_t have = 0;

    while (have < size - 1) {
        ssize_t n = read(fd, buffer + have, size - 1 - have);
        const char *body, *length;

        if (n <= 0)
            break;
        have += (size_t)n;
        buffer[have] = '\0';
        body = strstr(buffer, "\r\n\r\n");
        length = strcasestr(buffer, "content-length:");
        if (body && length && length < body &&
            (size_t)(buffer + have - (body + 4)) >=
                strtoul(length + strlen("content-length:"), NULL, 10))
            break;
    }
    return have;
}

int
main(int argc, char **argv)
{
    static char body[LARGEST], head[256], answer[LARGEST];
    size_t length = fread(body, 1, sizeof(body), stdin);
    int fd = argc == 2 ? connect_to(argv[1]) : -1;
    const char *text;

    if (fd < 0) {
        perror("post");
        return 2;
    }
    snprintf(head, sizeof(head),
             "POST / HTTP/1.1\r\nUser-agent: xenopsd\r\n"
             "content-length: %zu\r\n\r\n",
             length);
    if (write(fd, head, strlen(head)) < 0 || write(fd, body, length) < 0 ||
        read_answer(fd, answer, sizeof(answer)) == 0) {
        perror("post");
        return 2;
    }
    close(fd);
    text = strstr(answer, "\r\n\r\n");
    puts(text ? text + 4 : answer);
    return strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
}
