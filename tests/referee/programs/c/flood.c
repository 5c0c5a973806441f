/* Few large writes: argument MiB in one piece, then once more in pieces of odd length. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int all(int stream, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t done = write(stream, bytes, length);
        if (done <= 0) return 0;
        bytes += done;
        length -= (size_t)done;
    }
    return 1;
}

int main(int argc, char **argv) {
    size_t length = (size_t)(argc > 1 ? atoi(argv[1]) : 1) << 20;
    char *bytes = malloc(length);
    if (bytes == NULL) return 4;
    for (size_t at = 0; at < length; at++) bytes[at] = (char)(at * at >> 5);
    if (!all(1, bytes, length)) return 5;
    for (size_t at = 0; at < length; at += 65521) {
        size_t rest = length - at;
        if (!all(1, bytes + at, rest < 65521 ? rest : 65521)) return 6;
    }
    if (!all(2, bytes + length / 2, length / 2)) return 7;
    free(bytes);
    return 0;
}
