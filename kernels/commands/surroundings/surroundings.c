/* Says what a program finds around it on a p2pnet node: its arguments, the clock, chance, environment, files, network.
 *
 * Everything here is the same on every node. Only chance differs, from part to part of the same input. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int place = 0; place < argc; place++) printf("argument %d: %s\n", place, argv[place]);

    struct timespec now[2];
    clock_gettime(CLOCK_REALTIME, &now[0]);
    clock_gettime(CLOCK_MONOTONIC, &now[1]);
    for (int clock = 0; clock < 2; clock++) printf("clock: second %lld\n", (long long)now[clock].tv_sec);
    long long before = now[1].tv_sec * 1000000000LL + now[1].tv_nsec;
    nanosleep(&(struct timespec){.tv_sec = 3600}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now[1]);
    long long waited = now[1].tv_sec * 1000000000LL + now[1].tv_nsec - before;
    printf("clock: %lld seconds after waiting for an hour\n", waited / 1000000000);

    unsigned char chance[8];
    if (getentropy(chance, sizeof chance) != 0) return 1;
    fputs("chance:", stdout);
    for (size_t place = 0; place < sizeof chance; place++) printf(" %02x", chance[place]);
    putchar('\n');

    extern char **environ;
    printf("environment: %s\n", environ == NULL || environ[0] == NULL ? "empty" : environ[0]);

    errno = 0;
    printf("reading a file: %s\n", fopen("/etc/passwd", "r") == NULL ? strerror(errno) : "possible");
    errno = 0;
    printf("writing a file: %s\n", open("file", O_WRONLY | O_CREAT, 0600) < 0 ? strerror(errno) : "possible");
    errno = 0;
    printf("accepting a connection: %s\n", accept(3, NULL, NULL) < 0 ? strerror(errno) : "possible");
    errno = 0;
    printf("seeking in the input: %s\n", lseek(0, 0, SEEK_SET) < 0 ? strerror(errno) : "possible");

    char part[256];
    size_t length = fread(part, 1, sizeof part - 1, stdin);
    fprintf(stderr, "the input has %zu bytes\n", length);
    return 0;
}
