/* Many small writes to both outputs, one byte and one line at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int turns = argc > 1 ? atoi(argv[1]) : 10;
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int turn = 0; turn < turns; turn++) {
        putchar('a' + turn % 26);
        if (turn % 50 == 49) putchar('\n');
        if (turn % 7 == 0) fprintf(stderr, "%d;", turn);
        if (turn % 11 == 0 && write(2, "|", 1) != 1) return 2;
    }
    int c, sum = 0, count = 0;
    while ((c = getchar()) != EOF) {
        sum = (sum * 31 + c) % 1000003;
        if (++count % 997 == 0) printf("%d\n", sum);
    }
    printf("\n%d bytes, %d\n", count, sum);
    return 0;
}
