/* Checklist 13: send, recv, sendmsg, recvmsg and recvmmsg with data, vectors, headers and addresses in cold memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cold.h"

enum { kPart = 64 << 10, kParts = 8, kBytes = 2 << 20 };

/* All that a call is given lies in this, in pages of its own. */
struct Call {
  _Alignas(4096) struct msghdr header;
  _Alignas(4096) struct iovec iov[kParts];
  _Alignas(4096) char control[4096];
  _Alignas(4096) struct mmsghdr several[2];
};

static void prepare(struct Call* c, char* data, size_t part) {
  for (size_t i = 0; i < kParts; ++i) c->iov[i] = (struct iovec){data + i * kPart * 2, part};
  c->header = (struct msghdr){.msg_iov = c->iov, .msg_iovlen = kParts, .msg_control = c->control, .msg_controllen = sizeof c->control};
}

int main(void) {
  int ends[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const int room = 4 << 20;
  EXPECT(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0 ||
         setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
  char* from = cold_make(kBytes, 1);
  char* to = cold_map(kBytes);
  struct Call* c = (struct Call*)cold_map(MIB);

  /* Plain send and recv, a part at a time: the socket's buffer is small. */
  cold_evict(to, kBytes);
  for (size_t at = 0; at < kBytes; at += kPart) {
    EXPECT(send(ends[0], from + at, kPart, 0) == kPart);
    EXPECT(recv(ends[1], to + at, kPart, MSG_WAITALL) == kPart);
  }
  EXPECT_FILLED(to, kBytes, 1);

  /* sendmsg out of cold parts with a descriptor as ancillary data. */
  prepare(c, from, 4096);
  struct cmsghdr* pass = CMSG_FIRSTHDR(&c->header);
  *pass = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  const int passed = 1;
  memcpy(CMSG_DATA(pass), &passed, sizeof passed);
  c->header.msg_controllen = CMSG_SPACE(sizeof(int));
  cold_evict(from, kBytes);
  cold_evict(c, sizeof *c);
  EXPECT(sendmsg(ends[0], &c->header, 0) == kParts * 4096);
  prepare(c, to, 4096);
  memset(to, 0, kBytes);
  cold_evict(to, kBytes);
  cold_evict(c, sizeof *c);
  EXPECT(recvmsg(ends[1], &c->header, MSG_WAITALL) == kParts * 4096);
  for (size_t i = 0; i < kParts; ++i) EXPECT_FILLED_FROM(to + i * kPart * 2, 4096, 1, i * kPart * 2);
  pass = CMSG_FIRSTHDR(&c->header);
  EXPECT(pass && pass->cmsg_type == SCM_RIGHTS);
  int received;
  memcpy(&received, CMSG_DATA(pass), sizeof received);
  EXPECT(fcntl(received, F_GETFD) >= 0 && close(received) == 0);

  /* Datagrams: recvmmsg. */
  int pair[2];
  EXPECT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
  cold_evict(from, kBytes);
  EXPECT(send(pair[0], from, 8192, 0) == 8192 && send(pair[0], from + 8192, 8192, 0) == 8192);
  c->iov[0] = (struct iovec){to, 8192};
  c->iov[1] = (struct iovec){to + MIB, 8192};
  for (int i = 0; i < 2; ++i) c->several[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &c->iov[i], .msg_iovlen = 1}};
  cold_evict(to, kBytes);
  cold_evict(c, sizeof *c);
  EXPECT(recvmmsg(pair[1], c->several, 2, 0, NULL) == 2);
  EXPECT(c->several[0].msg_len == 8192 && c->several[1].msg_len == 8192);
  EXPECT_FILLED(to, 8192, 1);
  EXPECT_FILLED_FROM(to + MIB, 8192, 1, 8192);

  /* Another process receives while the sender sleeps in a blocking call with cold memory. What it would share with the
   * sender could not leave. */
  cold_evict(to, kBytes);
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    cold_evict(to, kBytes);
    size_t got = 0;
    for (ssize_t n; got < kBytes && (n = recv(ends[1], to + got, kBytes - got, 0)) > 0;) got += (size_t)n;
    EXPECT_FILLED(to, kBytes, 1);
    _exit(0);
  }
  cold_evict(from, kBytes);
  for (size_t sent = 0; sent < kBytes;) {
    const ssize_t n = send(ends[0], from + sent, kBytes - sent, 0);
    EXPECT(n > 0);
    sent += (size_t)n;
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  puts("ok");
  return 0;
}
