/* Opening things inside a named network namespace. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

struct job {
  int namespace_fd;
  open_function open;
  void *arguments;
  int result;
  int error;
  const char *syscall;
};

/* setns is per thread: this one enters the namespace, opens, and ends. */
static void *enter_and_open(void *data) {
  struct job *job = data;
  if (setns(job->namespace_fd, CLONE_NEWNET) != 0) {
    job->error = errno;
    job->syscall = "setns";
    return NULL;
  }
  job->result = job->open(job->arguments, &job->error, &job->syscall);
  return NULL;
}

int open_in_namespace(const char *path, open_function open_there, void *arguments, int *error, const char **syscall) {
  if (path[0] == 0) return open_there(arguments, error, syscall);
  struct job job = {.open = open_there, .arguments = arguments, .result = -1, .syscall = "open namespace"};
  job.namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
  if (job.namespace_fd < 0) {
    job.error = errno;
  } else {
    pthread_t thread;
    int created = pthread_create(&thread, NULL, enter_and_open, &job);
    if (created == 0) {
      pthread_join(thread, NULL);
    } else {
      job.error = created;
      job.syscall = "pthread_create";
    }
    close(job.namespace_fd);
  }
  *error = job.error;
  *syscall = job.syscall;
  return job.result;
}
