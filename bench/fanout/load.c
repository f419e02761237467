/* The load of the fan-out benchmark: publisher and browsers in one thread, cheap enough not to be what is measured.
 *
 *   load fill    REDIS_PORT KEY_PATTERN STREAMS ENTRIES FINISH(0|1)
 *   load follow  REDIS_PORT KEY_PATTERN HTTP_PORT PATH_PATTERN STREAMS RATE WARM_MS MEASURE_MS
 *   load open    HTTP_PORT PATH_PATTERN STREAMS            (says "open", then holds the streams until stdin ends)
 *   load replay  HTTP_PORT PATH_PATTERN STREAMS ENTRIES
 *   load ceiling STREAMS SECONDS
 *
 * Patterns hold one integer conversion, for the number of the stream. Everything goes over 127.0.0.1. Every event of
 * every stream must come once and in order (`id: 1-N`), else the run counts as failed. Latency is CLOCK_MONOTONIC from
 * the building of the XADD to the reading of the frame; the time stands inside the payload. The answer is one line of
 * JSON on stdout; a sentence on stderr and exit code 1 when something went wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 1024, READ_BYTES = 256 * 1024, BUCKETS = 200000, BUCKET_US = 50, NAME_BYTES = 256 };

/* Before the time in a payload, whether the JSON has blanks after its colons or not. */
static const char TIME_MARK[] = "\"delta\":";

typedef struct {
    int fd;
    int status;          /* 0 until the head of the response is read */
    int ended;           /* the body was terminated */
    long next;           /* the sequence that has to come next */
    long events;
    size_t kept;         /* bytes of an unfinished line in `line` */
    char line[LINE_BYTES];
} Browser;

typedef struct {
    int fd;
    char *out;
    size_t used, sent, room;
    long asked, answered;
    int in_error;
} Redis;

static Browser *browsers;
static int streams;
static long received, gaps;
static uint32_t histogram[BUCKETS];
static long measured;
static uint64_t measure_from, measure_to;
static char input[READ_BYTES];

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int dial(int port, int blocking) {
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) die("no more sockets: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("nobody listens on port %d: %s", port, strerror(errno));
    return fd;
}

/* ---- the browsers ------------------------------------------------------------------------------------------- */

static void record(const char *data, size_t length) {
    const char *mark = memmem(data, length, TIME_MARK, sizeof TIME_MARK - 1);
    if (!mark) return;
    mark += sizeof TIME_MARK - 1;
    uint64_t sent = strtoull(mark + (*mark == ' ' ? 2 : 1), NULL, 10);
    if (sent < measure_from || sent >= measure_to) return;
    uint64_t bucket = (now_ns() - sent) / 1000 / BUCKET_US;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    measured++;
}

static void take_line(Browser *browser, const char *line, size_t length) {
    if (!browser->status) {
        if (length > 12 && !memcmp(line, "HTTP/1.1 ", 9)) browser->status = atoi(line + 9);
        return;
    }
    if (length > 4 && !memcmp(line, "id: ", 4)) {
        const char *dash = memchr(line, '-', length);
        long sequence = dash ? strtol(dash + 1, NULL, 10) : -1;
        if (sequence != browser->next) gaps++;
        browser->next = sequence + 1;
    } else if (length > 6 && !memcmp(line, "data: {", 7)) {
        browser->events++;
        received++;
        if (measure_to) record(line, length);
    } else if (length == 2 && !memcmp(line, "0\r", 2)) {
        browser->ended = 1;
    }
}

static void take(Browser *browser, char *data, size_t length) {
    while (length) {
        char *end = memchr(data, '\n', length);
        size_t part = end ? (size_t)(end - data) : length;
        if (browser->kept + part > LINE_BYTES) die("a line of more than %d bytes", LINE_BYTES);
        if (!end) {
            memcpy(browser->line + browser->kept, data, part);
            browser->kept += part;
            return;
        }
        if (browser->kept) {
            memcpy(browser->line + browser->kept, data, part);
            take_line(browser, browser->line, browser->kept + part);
            browser->kept = 0;
        } else {
            take_line(browser, data, part);
        }
        data += part + 1;
        length -= part + 1;
    }
}

/* 1 while the connection is open. */
static int read_browser(Browser *browser) {
    for (;;) {
        ssize_t got = read(browser->fd, input, READ_BYTES);
        if (got > 0) {
            take(browser, input, (size_t)got);
            if (got < READ_BYTES) return 1;
        } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 1;
        } else {
            return 0;
        }
    }
}

static void request(Browser *browser, int number, const char *pattern) {
    char path[NAME_BYTES], text[2 * NAME_BYTES];
    snprintf(path, sizeof path, pattern, number);
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n", path);
    if (write(browser->fd, text, (size_t)length) != length) die("a request was not taken: %s", strerror(errno));
}

static void connect_browsers(int epoll, int port, const char *pattern) {
    browsers = calloc((size_t)streams, sizeof *browsers);
    for (int i = 0; i < streams; i++) {
        Browser *browser = &browsers[i];
        browser->fd = dial(port, 1);
        request(browser, i, pattern);
        fcntl(browser->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = browser};
        epoll_ctl(epoll, EPOLL_CTL_ADD, browser->fd, &event);
    }
}

static void must_be_open(Browser *browser) {
    if (!read_browser(browser) && !browser->ended) die("the server broke a stream (status %d)", browser->status);
    if (browser->status && browser->status != 200) die("the server answered %d", browser->status);
}

/* Read until every browser has seen so many events and, when asked, the end. */
static void read_all(int epoll, long events, int to_the_end, int seconds) {
    struct epoll_event ready[512];
    uint64_t deadline = now_ns() + (uint64_t)seconds * 1000000000u;
    int done = 0;
    while (done < streams) {
        if (now_ns() > deadline) die("only %d of %d streams were complete after %d s", done, streams, seconds);
        int count = epoll_wait(epoll, ready, 512, 100);
        for (int i = 0; i < count; i++) {
            Browser *browser = ready[i].data.ptr;
            int before = browser->status && browser->events >= events && (!to_the_end || browser->ended);
            must_be_open(browser);
            int after = browser->status && browser->events >= events && (!to_the_end || browser->ended);
            done += after && !before;
            if (browser->ended) epoll_ctl(epoll, EPOLL_CTL_DEL, browser->fd, NULL);
        }
    }
}

/* ---- the publisher ------------------------------------------------------------------------------------------ */

static void queue(Redis *redis, const char *text, size_t length) {
    if (redis->used + length > redis->room) {
        redis->room = 2 * (redis->used + length);
        redis->out = realloc(redis->out, redis->room);
    }
    memcpy(redis->out + redis->used, text, length);
    redis->used += length;
}

static void command(Redis *redis, int count, ...) {
    char part[2 * NAME_BYTES];
    va_list arguments;
    queue(redis, part, (size_t)snprintf(part, sizeof part, "*%d\r\n", count));
    va_start(arguments, count);
    for (int i = 0; i < count; i++) {
        const char *argument = va_arg(arguments, const char *);
        queue(redis, part, (size_t)snprintf(part, sizeof part, "$%zu\r\n%s\r\n", strlen(argument), argument));
    }
    va_end(arguments);
    redis->asked++;
}

static void append(Redis *redis, const char *key) {
    char data[NAME_BYTES];
    /* 83 bytes of JSON, about what a token of a model is. */
    snprintf(data, sizeof data, "{\"type\":\"text-delta\",\"id\":\"0\",\"delta\":\"%020llu a token, padded...\"}",
             (unsigned long long)now_ns());
    command(redis, 7, "XADD", key, "1-*", "t", "text-delta", "d", data);
}

static void flush_redis(Redis *redis) {
    while (redis->sent < redis->used) {
        ssize_t put = write(redis->fd, redis->out + redis->sent, redis->used - redis->sent);
        if (put < 0 && errno == EAGAIN) return;
        if (put < 0) die("Redis is gone: %s", strerror(errno));
        redis->sent += (size_t)put;
    }
    redis->sent = redis->used = 0;
}

static void read_redis(Redis *redis) {
    ssize_t got;
    while ((got = read(redis->fd, input, READ_BYTES)) > 0)
        for (ssize_t i = 0; i < got; i++) {
            /* Every answer is an id ($n, id), an integer or an error: one line that begins with $, : or -. */
            if (input[i] == '$' || input[i] == ':') redis->answered++;
            if (input[i] == '-' && i && input[i - 1] == '\n') redis->in_error = 1;
        }
    if (!got) die("Redis closed the connection");
    if (redis->in_error) die("Redis refused a command");
}

static Redis open_redis(int port) {
    Redis redis = {.fd = dial(port, 1)};
    fcntl(redis.fd, F_SETFL, O_NONBLOCK);
    return redis;
}

static void settle(Redis *redis) {
    uint64_t deadline = now_ns() + 60000000000u;
    while (redis->used || redis->answered < redis->asked) {
        flush_redis(redis);
        read_redis(redis);
        if (now_ns() > deadline) die("Redis does not answer");
    }
}

static void begin_stream(Redis *redis, const char *key) {
    command(redis, 2, "DEL", key);
    command(redis, 7, "XADD", key, "1-*", "t", "start", "d", "{\"type\":\"start\",\"messageId\":\"bench\"}");
    command(redis, 3, "EXPIRE", key, "3600");
}

/* ---- the modes ---------------------------------------------------------------------------------------------- */

static int fill(char **argument) {
    Redis redis = open_redis(atoi(argument[0]));
    char key[NAME_BYTES];
    long entries = atol(argument[3]);
    streams = atoi(argument[2]);
    for (int i = 0; i < streams; i++) {
        snprintf(key, sizeof key, argument[1], i);
        begin_stream(&redis, key);
        /* The start entry is one of them, and so is the end. */
        for (long n = 1; n < entries - atoi(argument[4]); n++) append(&redis, key);
        if (atoi(argument[4])) command(&redis, 7, "XADD", key, "1-*", "t", "finish", "d", "{\"type\":\"finish\"}");
        if (redis.used > 1 << 20) settle(&redis);
    }
    settle(&redis);
    printf("{\"streams\": %d, \"entries\": %ld}\n", streams, entries);
    return 0;
}

static double percentile_ms(double share) {
    long wanted = (long)(share * (double)measured), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > wanted) return (i + 1) * BUCKET_US / 1000.0;
    return 0;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
         + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int follow(char **argument) {
    Redis redis = open_redis(atoi(argument[0]));
    int epoll = epoll_create1(0);
    char(*keys)[NAME_BYTES];
    long rate = atol(argument[5]);
    streams = atoi(argument[4]);
    keys = calloc((size_t)streams, NAME_BYTES);
    for (int i = 0; i < streams; i++) {
        snprintf(keys[i], NAME_BYTES, argument[1], i);
        begin_stream(&redis, keys[i]);
    }
    settle(&redis);
    connect_browsers(epoll, atoi(argument[2]), argument[3]);
    read_all(epoll, 1, 0, 60);

    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[512];
    epoll_ctl(epoll, EPOLL_CTL_ADD, redis.fd, &event);
    uint64_t begin = now_ns();
    measure_from = begin + strtoull(argument[6], NULL, 10) * 1000000u;
    measure_to = measure_from + strtoull(argument[7], NULL, 10) * 1000000u;
    double cpu = cpu_seconds();
    long published = 0, in_window = 0;
    while (now_ns() < measure_to) {
        uint64_t now = now_ns();
        long due = (long)((double)(now - begin) * (double)rate / 1e9);
        for (; published < due; published++) {
            append(&redis, keys[published % streams]);
            in_window += now >= measure_from;
        }
        flush_redis(&redis);
        int count = epoll_wait(epoll, ready, 512, 1);
        for (int i = 0; i < count; i++)
            if (ready[i].data.ptr) must_be_open(ready[i].data.ptr);
            else read_redis(&redis);
    }
    uint64_t ended = now_ns();
    cpu = cpu_seconds() - cpu;
    while (received < published + streams && now_ns() < ended + 3000000000u) {
        flush_redis(&redis);
        int count = epoll_wait(epoll, ready, 512, 10);
        for (int i = 0; i < count; i++)
            if (ready[i].data.ptr) must_be_open(ready[i].data.ptr);
            else read_redis(&redis);
    }
    double seconds = (double)(measure_to - measure_from) / 1e9;
    printf("{\"rate\": %ld, \"published_per_second\": %.0f, \"missing\": %ld, \"gaps\": %ld, \"p50_ms\": %.2f, "
           "\"p99_ms\": %.2f, \"load_cpu\": %.2f}\n",
           rate, (double)in_window / seconds, published + streams - received, gaps, percentile_ms(0.5),
           percentile_ms(0.99), cpu / ((double)(ended - begin) / 1e9));
    return 0;
}

static int hold(char **argument) {
    int epoll = epoll_create1(0);
    char end;
    streams = atoi(argument[2]);
    connect_browsers(epoll, atoi(argument[0]), argument[1]);
    read_all(epoll, 1, 0, 60);
    puts("open");
    fflush(stdout);
    while (read(0, &end, 1) > 0) continue;
    return 0;
}

static int replay(char **argument) {
    int epoll = epoll_create1(0);
    long events = atol(argument[3]);
    streams = atoi(argument[2]);
    uint64_t begin = now_ns();
    connect_browsers(epoll, atoi(argument[0]), argument[1]);
    /* A single stream is a finished turn and is read to the end of its response. */
    read_all(epoll, events, streams == 1, 120);
    printf("{\"seconds\": %.4f, \"events\": %ld, \"gaps\": %ld}\n", (double)(now_ns() - begin) / 1e9, received, gaps);
    return 0;
}

/* ---- what the client itself can take ------------------------------------------------------------------------- */

static void write_without_end(int listener) {
    int *fds = calloc((size_t)streams, sizeof *fds);
    long *sequence = calloc((size_t)streams, sizeof *sequence);
    char frame[2 * NAME_BYTES], chunk[3 * NAME_BYTES];
    static const char HEAD[] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (int i = 0; i < streams; i++) {
        fds[i] = accept(listener, NULL, NULL);
        if (write(fds[i], HEAD, sizeof HEAD - 1) < 0) exit(0);
    }
    for (int i = 0;; i = (i + 1) % streams) {
        int length = snprintf(frame, sizeof frame,
                              "id: 1-%ld\ndata: {\"type\":\"text-delta\",\"id\":\"0\",\"delta\":\"%020llu a token, padded...\"}\n\n",
                              sequence[i]++, (unsigned long long)now_ns());
        length = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", length, frame);
        if (write(fds[i], chunk, (size_t)length) < 0) exit(0);
    }
}

static int ceiling(char **argument) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event ready[512];
    streams = atoi(argument[0]);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) die("cannot listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    pid_t writer = fork();
    if (!writer) write_without_end(listener);
    connect_browsers(epoll, ntohs(address.sin_port), "/%d");
    read_all(epoll, 1, 0, 30);
    uint64_t begin = now_ns(), end = begin + strtoull(argument[1], NULL, 10) * 1000000000u;
    long before = received;
    measure_from = begin;
    measure_to = UINT64_MAX;
    while (now_ns() < end) {
        int count = epoll_wait(epoll, ready, 512, 10);
        for (int i = 0; i < count; i++) must_be_open(ready[i].data.ptr);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    printf("{\"events_per_second\": %.0f, \"gaps\": %ld}\n", (double)(received - before) / ((double)(now_ns() - begin) / 1e9), gaps);
    return 0;
}

int main(int count, char **argument) {
    static const struct { const char *name; int arguments; int (*run)(char **); } modes[] = {
        {"fill", 5, fill}, {"follow", 8, follow}, {"open", 3, hold}, {"replay", 4, replay}, {"ceiling", 2, ceiling},
    };
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (count > 1 && !strcmp(argument[1], modes[i].name) && count == modes[i].arguments + 2)
            return modes[i].run(argument + 2);
    die("unknown mode; see the top of load.c");
    return 1;
}
