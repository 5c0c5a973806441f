/* Strings, sorting and numbers as text: what most programs are made of. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int order(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }

int main(void) {
    char line[512];
    char **words = NULL;
    size_t count = 0, room = 0;
    double sum = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        for (char *word = strtok(line, " \t\r\n"); word != NULL; word = strtok(NULL, " \t\r\n")) {
            if (count == room) {
                room = room == 0 ? 16 : room * 2;
                words = realloc(words, room * sizeof *words);
            }
            for (char *c = word; *c != 0; c++) *c = (char)toupper((unsigned char)*c);
            sum += strtod(word, NULL);
            words[count++] = strdup(word);
        }
    }
    qsort(words, count, sizeof *words, order);
    for (size_t at = 0; at < count; at++)
        if (at == 0 || strcmp(words[at], words[at - 1]) != 0) puts(words[at]);
    printf("%zu words, sum %.17g, root %a, %e, %.3f\n", count, sum, sqrt(fabs(sum)), sum / 3, sum * 1e-3);
    return 0;
}
