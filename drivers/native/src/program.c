/* Programs that run beside this process, started without a copy of its memory map: fork(2) would write-protect every page
 * of all threads, and each of them would fault on each page that it writes next. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WORDS 1024
#define WAITING_STACK_BYTES (64 << 10)
#define STREAMS 3

struct waiting {
  pid_t pid;
  napi_threadsafe_function ended;
};

/* How a program starts; pipes[i] belongs to the descriptor i of the program. */
struct start {
  char *path;
  char **arguments;
  char **environment;
  int pipes[STREAMS][2];
};

static char *text_of(napi_env env, napi_value value) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "path, arguments and environment must be strings");
    return NULL;
  }
  char *text = malloc(length + 1);
  if (text == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    return NULL;
  }
  napi_get_value_string_utf8(env, value, text, length + 1, &length);
  if (strlen(text) == length) return text;
  free(text);
  napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "path, arguments and environment must be without NUL");
  return NULL;
}

static void free_words(char **words) {
  for (char **word = words; word != NULL && *word != NULL; word++) free(*word);
  free(words);
}

/* NULL after throwing. */
static char **words_of(napi_env env, napi_value array) {
  uint32_t count;
  if (napi_get_array_length(env, array, &count) != napi_ok || count > MOST_WORDS) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "arguments and environment must be arrays of at most 1024 strings");
    return NULL;
  }
  char **words = calloc(count + 1, sizeof *words);
  if (words == NULL) {
    throw_errno(env, ENOMEM, "calloc");
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value word;
    if (napi_get_element(env, array, i, &word) == napi_ok && (words[i] = text_of(env, word)) != NULL) continue;
    free_words(words);
    return NULL;
  }
  return words;
}

static int program_end(int stream) {
  return stream == STDIN_FILENO ? 0 : 1;
}

static void close_ends(struct start *start, bool ours) {
  for (int stream = 0; stream < STREAMS; stream++) {
    int *pipe = start->pipes[stream];
    if (pipe[0] < 0) continue;
    close(pipe[program_end(stream)]);
    if (ours) close(pipe[1 - program_end(stream)]);
  }
}

/* Signals as a program expects them: this process ignores SIGPIPE, and its threads may block others. Returns an errno. */
static int run_program(struct start *start, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    for (int stream = 0; stream < STREAMS && error == 0; stream++)
      error = posix_spawn_file_actions_adddup2(&actions, start->pipes[stream][program_end(stream)], stream);
    if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (error == 0) error = posix_spawn(pid, start->path, &actions, &attributes, start->arguments, start->environment);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

static void *wait_for_end(void *data) {
  struct waiting *waiting = data;
  int status = 0;
  while (waitpid(waiting->pid, &status, 0) < 0 && errno == EINTR) {
  }
  napi_call_threadsafe_function(waiting->ended, (void *)(intptr_t)status, napi_tsfn_blocking);
  napi_release_threadsafe_function(waiting->ended, napi_tsfn_release);
  free(waiting);
  return NULL;
}

/* ended(code, signal): the one that does not apply is -1. */
static void tell_end(napi_env env, napi_value ended, void *context, void *data) {
  (void)context;
  if (env == NULL) return;
  int status = (int)(intptr_t)data;
  napi_value receiver = undefined(env);
  napi_value argv[2] = {make_int(env, WIFEXITED(status) ? WEXITSTATUS(status) : -1), make_int(env, WIFSIGNALED(status) ? WTERMSIG(status) : -1)};
  napi_call_function(env, receiver, ended, 2, argv, NULL);
}

/* A thread that ends with the program. Returns an errno; the function is the thread's when it is 0. */
static int await_end(pid_t pid, napi_threadsafe_function ended) {
  struct waiting *waiting = malloc(sizeof *waiting);
  if (waiting == NULL) return ENOMEM;
  *waiting = (struct waiting){.pid = pid, .ended = ended};
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error == 0) {
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, WAITING_STACK_BYTES);
    pthread_t thread;
    error = pthread_create(&thread, &attributes, wait_for_end, waiting);
    pthread_attr_destroy(&attributes);
  }
  if (error != 0) free(waiting);
  return error;
}

static void set_number(napi_env env, napi_value object, const char *name, int value) {
  napi_set_named_property(env, object, name, make_int(env, value));
}

/* Everything after the arguments are read. */
static napi_value start_program(napi_env env, struct start *start, napi_value ended) {
  for (int stream = 0; stream < STREAMS; stream++)
    if (pipe2(start->pipes[stream], O_CLOEXEC) != 0) return throw_errno(env, errno, "pipe2");
  napi_value name;
  napi_threadsafe_function function;
  napi_create_string_utf8(env, "selvage program", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, ended, NULL, name, 0, 1, NULL, NULL, NULL, tell_end, &function) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "ended must be a function");
    return NULL;
  }
  pid_t pid = 0;
  int error = run_program(start, &pid);
  const char *syscall_name = "posix_spawn";
  int handle = -1;
  if (error == 0) {
    handle = (int)syscall(SYS_pidfd_open, pid, 0);
    error = handle < 0 ? errno : await_end(pid, function);
    if (error != 0) {
      syscall_name = handle < 0 ? "pidfd_open" : "pthread_create";
      if (handle >= 0) close(handle);
      kill(pid, SIGKILL);
      waitpid(pid, NULL, 0);
    }
  }
  if (error != 0) {
    napi_release_threadsafe_function(function, napi_tsfn_abort);
    return throw_errno(env, error, syscall_name);
  }
  napi_value result;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  set_number(env, result, "handle", handle);
  set_number(env, result, "stdin", start->pipes[STDIN_FILENO][1]);
  set_number(env, result, "stdout", start->pipes[STDOUT_FILENO][0]);
  set_number(env, result, "stderr", start->pipes[STDERR_FILENO][0]);
  return result;
}

/* startProgram(path, arguments, environment, ended): { handle, stdin, stdout, stderr }, descriptors that the caller closes. */
static napi_value start(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  if (!get_args(env, info, 4, argv)) return NULL;
  struct start start = {.pipes = {{-1, -1}, {-1, -1}, {-1, -1}}};
  napi_value result = NULL;
  if ((start.path = text_of(env, argv[0])) != NULL && (start.arguments = words_of(env, argv[1])) != NULL &&
      (start.environment = words_of(env, argv[2])) != NULL) {
    result = start_program(env, &start, argv[3]);
    close_ends(&start, result == NULL);
  }
  free(start.path);
  free_words(start.arguments);
  free_words(start.environment);
  return result;
}

/* signalProgram(handle, signal): of a program that has ended, nothing happens. */
static napi_value signal_program(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t handle, number;
  if (!get_args(env, info, 2, argv) || !get_int(env, argv[0], "handle", &handle) || !get_int(env, argv[1], "signal", &number))
    return NULL;
  if (syscall(SYS_pidfd_send_signal, handle, number, NULL, 0) != 0 && errno != ESRCH) return throw_errno(env, errno, "pidfd_send_signal");
  return undefined(env);
}

void register_program(napi_env env, napi_value exports) {
  define(env, exports, "startProgram", start);
  define(env, exports, "signalProgram", signal_program);
}
