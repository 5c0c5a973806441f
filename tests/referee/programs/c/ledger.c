/* A hash table that grows while the program prints, so that its heap and its output grow in turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row { char *word; unsigned long count; };
static struct row *rows;
static size_t room, used;

static size_t place(const char *word) {
    size_t mixed = 5381;
    for (const char *c = word; *c != 0; c++) mixed = mixed * 33 ^ (unsigned char)*c;
    size_t at = mixed % room;
    while (rows[at].word != NULL && strcmp(rows[at].word, word) != 0) at = (at + 1) % room;
    return at;
}

static void grow(void) {
    struct row *old = rows;
    size_t before = room;
    room = room == 0 ? 8 : room * 2;
    rows = calloc(room, sizeof *rows);
    if (rows == NULL) abort();
    for (size_t at = 0; at < before; at++)
        if (old[at].word != NULL) rows[place(old[at].word)] = old[at];
    free(old);
}

int main(int argc, char **argv) {
    unsigned long words = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    unsigned long seed = 12345;
    for (unsigned long turn = 0; turn < words; turn++) {
        char word[24];
        seed = (seed * 1103515245 + 12345) & 0x7fffffff;
        snprintf(word, sizeof word, "w%lu", seed % (words / 2 + 1));
        if (used * 2 >= room) grow();
        struct row *row = &rows[place(word)];
        if (row->word == NULL) {
            row->word = strdup(word);
            used++;
        }
        row->count++;
        printf("%s %lu of %zu\n", row->word, row->count, room);
        if (turn % 1000 == 999) fprintf(stderr, "after %lu: %zu words\n", turn + 1, used);
    }
    unsigned long sum = 0;
    for (size_t at = 0; at < room; at++) sum += rows[at].count * (at + 1);
    printf("%zu words, %lu\n", used, sum);
    return 0;
}
