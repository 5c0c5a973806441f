/* Walks a list by calling itself, once for each link. */
#include <stdio.h>
#include <stdlib.h>

struct link { struct link *next; long value; };

static long total(const struct link *link) {
    if (link == NULL) return 1;
    long rest = total(link->next);
    return rest * 3 + link->value;
}

int main(int argc, char **argv) {
    long depth = argc > 1 ? atol(argv[1]) : 10;
    struct link *first = NULL;
    for (long at = 0; at < depth; at++) {
        struct link *link = malloc(sizeof *link);
        link->next = first;
        link->value = at * 7;
        first = link;
    }
    printf("%ld deep: %ld\n", depth, total(first));
    return 0;
}
