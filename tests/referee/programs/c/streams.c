/* Asks after its streams, and for files that are not there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *what, long answer) {
    int error = errno;
    printf("%s: %ld%s%s\n", what, answer, answer < 0 ? " " : "", answer < 0 ? strerror(error) : "");
    errno = 0;
}

int main(void) {
    char bytes[16];
    struct stat about;
    for (int stream = 0; stream < 3; stream++) {
        say("seek from the start", lseek(stream, 0, SEEK_SET));
        say("seek from here", lseek(stream, 0, SEEK_CUR));
        say("seek from the end", lseek(stream, 0, SEEK_END));
        say("terminal", isatty(stream));
        errno = 0;
        say("stat", fstat(stream, &about));
        printf("type %o, size %ld, links %lu\n", (unsigned)(about.st_mode & S_IFMT), (long)about.st_size, (unsigned long)about.st_nlink);
        say("flags", fcntl(stream, F_GETFL));
    }
    say("write to the input", write(0, "x", 1));
    say("read from the output", read(1, bytes, sizeof bytes));
    say("read from the errors", read(2, bytes, sizeof bytes));
    say("write nothing", write(1, bytes, 0));
    say("read", read(0, bytes, sizeof bytes));
    say("read on", read(0, bytes, 3));
    say("stat of no stream", fstat(9, &about));
    say("write to no stream", write(9, "x", 1));
    say("close no stream", close(9));
    say("terminal of no stream", isatty(9));
    errno = 0;
    say("open", open("/tmp/anything", O_RDONLY));
    say("open here", open("anything", O_RDONLY));
    say("create", open("anything", O_CREAT | O_WRONLY, 0666));
    say("remove", unlink("anything"));
    say("folder", mkdir("anything", 0777));
    say("position", ftell(stdin));
    say("rewind", fseek(stdin, 0, SEEK_SET));
    say("close the input", close(0));
    say("read from what is closed", read(0, bytes, sizeof bytes));
    say("close it again", close(0));
    fputs("to the errors\n", stderr);
    say("close the errors", close(2));
    say("write to what is closed", write(2, "x", 1));
    return 0;
}
