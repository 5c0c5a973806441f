/* Sleeps, and looks at clocks. It says only what must hold on every clock. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double since(struct timespec start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
}

int main(void) {
    struct timespec start, pause = {0, 3000000};
    printf("clock %d\n", clock_gettime(CLOCK_MONOTONIC, &start));
    printf("nanosleep %d\n", nanosleep(&pause, NULL));
    printf("usleep %d\n", usleep(1000));
    printf("long enough: %d\n", since(start) >= 0.004);
    /* As a benchmark does: on and on, until some time is over. */
    clock_gettime(CLOCK_MONOTONIC, &start);
    unsigned long turns = 0;
    while (since(start) < 0.002) turns++;
    printf("some turns: %d\n", turns > 0);
    double last = 0;
    int back = 0;
    for (int turn = 0; turn < 1000; turn++) {
        double now = since(start);
        back += now < last;
        last = now;
    }
    printf("backwards: %d\n", back);
    struct timespec fine;
    printf("resolution %d %d\n", clock_getres(CLOCK_MONOTONIC, &fine), fine.tv_sec == 0 && fine.tv_nsec > 0);
    printf("this century: %d\n", time(NULL) > 946684800);
    pause.tv_nsec = 2000000000;
    printf("too many nanoseconds: %d\n", nanosleep(&pause, NULL));
    return 0;
}
