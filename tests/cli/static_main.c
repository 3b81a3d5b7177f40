// A program without a loader: it cannot be helped and must run all the same.
#include <stdio.h>
int main(void) { return puts("static ran") < 0; }
