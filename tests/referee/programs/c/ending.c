/* The ways in which a program can end, after it has put something out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void last(void) { puts("at exit"); }

static int divide(int by) { return 100 / by; }

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "return";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    atexit(last);
    printf("ending by %s\n", how);
    fprintf(stderr, "said to the errors\n");
    if (strcmp(how, "unflushed") != 0) fflush(stdout);
    if (strcmp(how, "exit") == 0) exit(number);
    if (strcmp(how, "at-once") == 0 || strcmp(how, "unflushed") == 0) _exit(number);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "trap") == 0) __builtin_trap();
    if (strcmp(how, "divide") == 0) printf("%d\n", divide(number));
    if (strcmp(how, "outside") == 0) printf("%d\n", *(volatile int *)0xfffffff0u);
    return number;
}
