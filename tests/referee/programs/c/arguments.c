/* What a program is told when it starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

int main(int argc, char **argv) {
    printf("%d arguments\n", argc);
    /* The first is the name that the program was started by, which is the host's to choose. */
    for (int at = 1; at < argc; at++) printf("%d: %zu [%s]\n", at, strlen(argv[at]), argv[at]);
    printf("behind them: %s\n", argv[argc] == NULL ? "nothing" : "something");
    int variables = 0;
    while (environ != NULL && environ[variables] != NULL) variables++;
    printf("%d variables\n", variables);
    printf("PATH %s\n", getenv("PATH") != NULL ? "yes" : "no");
    printf("set %d\n", setenv("COLOUR", "green", 1));
    printf("COLOUR %s\n", getenv("COLOUR"));
    return 0;
}
