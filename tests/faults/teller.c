/* The program of the fault tests: holds memory whose every page says which one it is, and does what it is told on stdin,
 * one order a line, one answer a line, so that a driver can break things at a known point.
 *
 *   map MIB            at ADDRESS                      fill SEED        filled
 *   check SEED         good N lost A,B.. wrong C,D..   handler          ready (SIGBUS is caught from now on)
 *   write PAGE         N or -ERRNO, of write(2)        churn PROCESSES  churning; then reads and writes until killed
 *   exec WORD...       nothing: becomes that program   end CODE         nothing: exits with it */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>

#include "cold.h"

enum { kWords = 512, kLongest = 240 /* seconds: nothing runs on when its driver was killed */ };

static char* g_memory;
static size_t g_pages;
static sigjmp_buf g_back;
static char g_list[2][1 << 20]; /* lost, wrong */

/* A page's first word names it, so that the driver finds it in the store. */
static uint64_t word_of(uint64_t seed, size_t page, size_t k) {
  return k ? cold_word(seed, page * kWords + k) : (uint64_t)0x5A5E << 48 | seed << 32 | page;
}

static void fill_page(uint64_t seed, size_t page) {
  uint64_t* at = (uint64_t*)(g_memory + page * PAGE);
  for (size_t k = 0; k < kWords; ++k) at[k] = word_of(seed, page, k);
}

static int page_is_right(uint64_t seed, size_t page) {
  const uint64_t* at = (const uint64_t*)(g_memory + page * PAGE);
  for (size_t k = 0; k < kWords; ++k)
    if (at[k] != word_of(seed, page, k)) return 0;
  return 1;
}

static void on_sigbus(int signal, siginfo_t* info, void* context) {
  (void)context;
  const char* at = (const char*)info->si_addr;
  if (at < g_memory || at >= g_memory + g_pages * PAGE) {
    static const char text[] = "SIGBUS outside of the memory that is held\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(1);
  }
  siglongjmp(g_back, signal);
}

static void catch_sigbus(void) {
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
  EXPECT(sigaction(SIGBUS, &action, NULL) == 0);
}

/* -1 when the page is right, 0 when it is lost, 1 when it is wrong. */
static int look(uint64_t seed, size_t page) {
  if (sigsetjmp(g_back, 1) != 0) return 0;
  return page_is_right(seed, page) ? -1 : 1;
}

static void check(uint64_t seed) {
  size_t used[2] = {0, 0}, good = 0;
  g_list[0][0] = g_list[1][0] = 0;
  for (size_t page = 0; page < g_pages; ++page) {
    const int which = look(seed, page);
    if (which < 0) {
      ++good;
      continue;
    }
    used[which] += (size_t)snprintf(g_list[which] + used[which], sizeof g_list[0] - used[which], "%s%zu",
                                    used[which] ? "," : "", page);
    EXPECT(used[which] < sizeof g_list[0]);
  }
  printf("good %zu lost %s wrong %s\n", good, g_list[0][0] ? g_list[0] : "-", g_list[1][0] ? g_list[1] : "-");
}

static void write_page(size_t page) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  const ssize_t n = write(ends[1], g_memory + page * PAGE, PAGE);
  printf("%d\n", n < 0 ? -errno : (int)n);
  close(ends[0]);
  close(ends[1]);
}

/* Walks and jumps, some of it writing, each touch checked; until killed. */
static void churn(unsigned processes) {
  for (unsigned i = 1; i < processes; ++i) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) break;
  }
  alarm(kLongest); /* children have none yet */
  uint64_t random = (uint64_t)getpid();
  for (;;) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t page = (size_t)(random >> 33) % g_pages;
    for (unsigned n = (random >> 20) % 600; n && page < g_pages; --n, ++page) {
      EXPECT(page_is_right(1, page));
      if (n % 3 == 0) fill_page(1, page);
    }
  }
}

static void become(char* words) {
  char* argument[16];
  size_t n = 0;
  for (char* word = strtok(words, " "); word && n < 15; word = strtok(NULL, " ")) argument[n++] = word;
  argument[n] = NULL;
  execvp(argument[0], argument);
  EXPECT(!"exec");
}

int main(void) {
  static char line[256];
  alarm(kLongest);
  setvbuf(stdin, NULL, _IONBF, 0); /* what comes after an exec is the next program's */
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    char* text = strchr(line, ' ');
    const size_t number = text ? strtoul(text, NULL, 10) : 0;
    if (!strncmp(line, "map ", 4)) {
      g_memory = cold_map(number * MIB);
      g_pages = number * MIB / PAGE;
      printf("at %p\n", (void*)g_memory);
    } else if (!strncmp(line, "fill ", 5)) {
      for (size_t page = 0; page < g_pages; ++page) fill_page(number, page);
      puts("filled");
    } else if (!strncmp(line, "check ", 6)) {
      check(number);
    } else if (!strcmp(line, "handler")) {
      catch_sigbus();
      puts("ready");
    } else if (!strncmp(line, "write ", 6)) {
      write_page(number);
    } else if (!strncmp(line, "churn ", 6)) {
      puts("churning");
      fflush(stdout);
      churn((unsigned)number);
    } else if (!strncmp(line, "exec ", 5)) {
      become(text);
    } else if (!strncmp(line, "end ", 4)) {
      return (int)number;
    } else {
      EXPECT(!"a known order");
    }
    fflush(stdout);
  }
  return 99; /* the driver is gone */
}
