/* Checklist 12 and 31: a small process has one thread, no descriptor and no mapping of ours, and has not loaded memkind. */
#include <dirent.h>

#include "expect.h"

int main(void) {
  for (int i = 0; i < 1000; ++i) free(escape(malloc(1000)));
  int threads = 0, high_fds = 0;
  DIR* dir = opendir("/proc/self/task");
  EXPECT(dir);
  for (struct dirent* e; (e = readdir(dir));) threads += e->d_name[0] != '.';
  closedir(dir);
  dir = opendir("/proc/self/fd");
  EXPECT(dir);
  for (struct dirent* e; (e = readdir(dir));) high_fds += atoi(e->d_name) >= 200;
  closedir(dir);
  int maps_of_ours = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  EXPECT(maps);
  for (char line[500]; fgets(line, sizeof line, maps);) {
    const unsigned long at = strtoul(line, NULL, 16);
    maps_of_ours += (at >> 40) >= 16 && (at >> 40) < 42;
    maps_of_ours += strstr(line, "memkind") != NULL;
  }
  fclose(maps);
  printf("threads %d, high descriptors %d, maps of ours %d\n", threads, high_fds, maps_of_ours);
  return 0;
}
