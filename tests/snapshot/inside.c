// Takes snapshots of itself, as its input says; one line of answer for each line:
//   fill MIB           allocates and fills memory
//   sum                "sum N", over all of it
//   snapshot TAG FLAGS "running", "restored NAME=VALUE..." or "error TEXT", with the hooks that ran in front
//   threads N TAG      N threads do so at once, each with a tag of its own: how many got which result
//   fork TAG           a child does so; the parent answers with what the child got
//   argument NAME      "argument VALUE"
//   nested TAG         a hook tries to take a snapshot, too
#include <ebb/ebb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kMostBlocks = 64, kMostThreads = 8 };
static uint64_t* blocks[kMostBlocks];
static size_t words_of[kMostBlocks];
static int block_count;
static char ran[256];
static int nested;
static volatile sig_atomic_t children_ended;

static void on_child(int signal) {
  (void)signal;
  ++children_ended;
}

static void note(void* name) {
  strcat(ran, name);
  strcat(ran, " ");
}

static void nest(void* unused) {
  (void)unused;
  if (!nested) return;
  nested = 0;
  if (ebb_snapshot("nested", 0) == EBB_ERROR) note("refused");
}

static void fill(size_t mib) {
  const size_t words = mib << 17;
  uint64_t* block = malloc(words * sizeof(*block));
  if (!block || block_count == kMostBlocks) exit(2);
  for (size_t i = 0; i < words; ++i) block[i] = i * 2654435761u + (uint64_t)block_count;
  blocks[block_count] = block;
  words_of[block_count++] = words;
}

static uint64_t sum(void) {
  uint64_t all = 0;
  for (int b = 0; b < block_count; ++b)
    for (size_t i = 0; i < words_of[b]; ++i) all = all * 31 + blocks[b][i];
  return all;
}

static void answer(FILE* out, int result) {
  if (children_ended) fputs("SIGCHLD ", out);
  fputs(ran, out);
  ran[0] = 0;
  if (result == EBB_ERROR) fprintf(out, "error %s", ebb_last_error());
  if (result == EBB_RUNNING) fputs("running", out);
  if (result == EBB_RESTORED) {
    fputs("restored", out);
    const char* name;
    for (unsigned i = 0; (name = ebb_argument_name(i)); ++i) fprintf(out, " %s=%s", name, ebb_argument(name));
  }
  fputs("\n", out);
  fflush(out);
}

struct call {
  char tag[160];
  int result;
};
static void* call(void* data) {
  struct call* one = data;
  one->result = ebb_snapshot(one->tag, 0);
  return NULL;
}

static void threads(int count, const char* tag) {
  pthread_t ids[kMostThreads];
  struct call calls[kMostThreads];
  int got[3] = {0, 0, 0};
  for (int i = 0; i < count && i < kMostThreads; ++i) {
    snprintf(calls[i].tag, sizeof(calls[i].tag), "%s-%d", tag, i);
    if (pthread_create(&ids[i], NULL, call, &calls[i]) != 0) exit(3);
  }
  for (int i = 0; i < count && i < kMostThreads; ++i) {
    pthread_join(ids[i], NULL);
    ++got[calls[i].result + 1];
  }
  ran[0] = 0;
  printf("errors %d running %d restored %d\n", got[0], got[1], got[2]);
  fflush(stdout);
}

static void in_child(const char* tag) {
  const pid_t child = fork();
  if (child == 0) {
    answer(stdout, ebb_snapshot(tag, 0));
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) exit(4);
  children_ended = 0;
}

int main(void) {
  if (!ebb_available()) {
    puts("not available");
    return 5;
  }
  signal(SIGCHLD, on_child);
  ebb_before_snapshot(note, "before1");
  ebb_before_snapshot(note, "before2");
  ebb_before_snapshot(nest, NULL);
  ebb_after_snapshot(note, "after1");
  ebb_after_snapshot(note, "after2");
  ebb_after_restore(note, "restore1");
  ebb_after_restore(note, "restore2");
  char line[256], word[16], tag[128];
  while (fgets(line, sizeof(line), stdin)) {
    unsigned number = 0;
    if (sscanf(line, "fill %u", &number) == 1) {
      fill(number);
      puts("filled");
    } else if (sscanf(line, "%15s", word) == 1 && strcmp(word, "sum") == 0) {
      printf("sum %llu\n", (unsigned long long)sum());
    } else if (sscanf(line, "snapshot %127s %u", tag, &number) == 2) {
      answer(stdout, ebb_snapshot(tag, number));
    } else if (sscanf(line, "threads %u %127s", &number, tag) == 2) {
      threads((int)number, tag);
    } else if (sscanf(line, "fork %127s", tag) == 1) {
      in_child(tag);
    } else if (sscanf(line, "argument %127s", tag) == 1) {
      const char* value = ebb_argument(tag);
      printf("argument %s\n", value ? value : "(none)");
    } else if (sscanf(line, "nested %127s", tag) == 1) {
      nested = 1;
      answer(stdout, ebb_snapshot(tag, 0));
    }
    fflush(stdout);
  }
  return 7;
}
