/* What the addon's files share: arguments, errors, one state per JavaScript environment (main thread or worker). */
#ifndef SELVAGE_ADDON_H
#define SELVAGE_ADDON_H

#define NAPI_VERSION 9
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "burst.h"

struct aead_key;
struct vaes;

/* Everything that outlives one call. Nothing is static, so that workers can load the addon side by side. */
struct addon_state {
  struct aead_key **keys;
  int32_t key_slots;
  /* The faster AES-GCM, once it was looked for; NULL = there is none. */
  struct vaes *vaes;
  bool vaes_sought;
};

struct addon_state *addon_state(napi_env env);

/* Arguments: each returns false after throwing a TypeError that names the argument. */
bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv);
bool get_int(napi_env env, napi_value value, const char *name, int32_t *out);
bool get_bool(napi_env env, napi_value value, const char *name, bool *out);
/* Text of at most size - 1 octets without NUL; `undefined` becomes the empty string when optional. */
bool get_text(napi_env env, napi_value value, const char *name, bool optional, char *out, size_t size);
bool get_bytes(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length);
bool get_burst(napi_env env, napi_value memory, napi_value count, struct burst **burst, int32_t *packets);
/* A literal address and a port; an empty text gives the family's wildcard. */
bool get_address(napi_env env, napi_value address, napi_value port, struct sockaddr_storage *out, socklen_t *length);

/* Results. */
napi_value make_int(napi_env env, int32_t value);
napi_value undefined(napi_env env);
/* Throws an Error with `code` (errno's name), `errno` and `syscall`. Returns NULL. */
napi_value throw_errno(napi_env env, int error, const char *syscall);

/* Runs `open` inside the network namespace of `path` ("" = the current one), on a thread of its own that ends
 * afterwards, so that the calling thread never changes its namespace. `open` returns a file descriptor, or -1 with
 * *error and *syscall set; so does this function. */
typedef int (*open_function)(void *arguments, int *error, const char **syscall);
int open_in_namespace(const char *path, open_function open, void *arguments, int *error, const char **syscall);

/* Each registers its functions on `exports`. */
void register_tun(napi_env env, napi_value exports);
void register_tun_bursts(napi_env env, napi_value exports);
void register_sockets(napi_env env, napi_value exports);
void register_datagrams(napi_env env, napi_value exports);
void register_wait(napi_env env, napi_value exports);
void register_aead(napi_env env, napi_value exports);
void register_program(napi_env env, napi_value exports);
void define(napi_env env, napi_value exports, const char *name, napi_callback function);

void aead_remove_all(struct addon_state *state);

#endif
