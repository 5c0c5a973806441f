/* Count, smallest, largest, mean and standard deviation of the numbers in standard input: statistics [-d DIGITS]
 *
 * Numbers stand apart by white space or commas. What is no number is named on standard error and left out; if nothing
 * is left, the exit code is 1. Mean and deviation by Welford's method (Technometrics 4, 1962). */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void) {
    fputs("usage: statistics [-d DIGITS], with 0 to 17 digits\n", stderr);
    return 2;
}

int main(int argc, char **argv) {
    int digits = 6;
    int option;
    while ((option = getopt(argc, argv, "d:")) != -1) {
        char *end = NULL;
        if (option != 'd') return usage();
        digits = (int)strtol(optarg, &end, 10);
        if (end == optarg || *end != '\0' || digits < 0 || digits > 17) return usage();
    }
    if (optind != argc) return usage();

    unsigned long count = 0, skipped = 0;
    double least = INFINITY, most = -INFINITY, mean = 0, squares = 0;
    char word[64];
    size_t length = 0;
    for (int byte = 0; byte != EOF;) {
        byte = getchar();
        int apart = byte == EOF || strchr(" \t\r\n,", byte) != NULL;
        if (!apart) {
            /* A longer word is no number that anybody means: its beginning is enough to name it. */
            if (length < sizeof word - 1) word[length++] = (char)byte;
            continue;
        }
        if (length == 0) continue;
        word[length] = '\0';
        length = 0;
        char *end = NULL;
        double value = strtod(word, &end);
        if (*end != '\0' || !isfinite(value)) {
            fprintf(stderr, "statistics: %s is no number\n", word);
            skipped++;
            continue;
        }
        count++;
        if (value < least) least = value;
        if (value > most) most = value;
        double before = value - mean;
        mean += before / (double)count;
        squares += before * (value - mean);
    }
    if (count == 0) {
        fprintf(stderr, "statistics: no numbers\n");
        return 1;
    }
    double deviation = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    printf("count %lu, skipped %lu\n", count, skipped);
    printf("min %.*g, max %.*g\n", digits, least, digits, most);
    printf("mean %.*g, deviation %.*g\n", digits, mean, digits, deviation);
    return 0;
}
