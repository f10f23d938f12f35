#include "addon.h"

#include <stdlib.h>

struct addon_state *addon_state(napi_env env) {
  void *state = NULL;
  napi_get_instance_data(env, &state);
  return state;
}

void define(napi_env env, napi_value exports, const char *name, napi_callback function) {
  napi_value value;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok)
    napi_set_named_property(env, exports, name, value);
}

static void set_int(napi_env env, napi_value object, const char *name, int64_t value) {
  napi_value number;
  if (napi_create_int64(env, value, &number) == napi_ok) napi_set_named_property(env, object, name, number);
}

#define SET_COLUMN(name) set_int(env, columns, #name, (int64_t)offsetof(struct burst, name));

/* layout(): the numbers of burst.h, columns as { name: offset in memory }. */
static napi_value layout(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value object, columns;
  if (napi_create_object(env, &object) != napi_ok || napi_create_object(env, &columns) != napi_ok) return NULL;
  BURST_COLUMNS(SET_COLUMN)
  SET_COLUMN(address)
  SET_COLUMN(bytes)
  napi_set_named_property(env, object, "columns", columns);
  set_int(env, object, "packets", BURST_PACKETS);
  set_int(env, object, "slotBytes", SLOT_BYTES);
  set_int(env, object, "headroom", HEADROOM);
  set_int(env, object, "largestRead", LARGEST_READ);
  set_int(env, object, "areas", AREAS);
  set_int(env, object, "areaBytes", AREA_BYTES);
  set_int(env, object, "outputBytes", OUTPUT_BYTES);
  set_int(env, object, "nextDrop", NEXT_DROP);
  set_int(env, object, "nextDone", NEXT_DONE);
  set_int(env, object, "memoryBytes", (int64_t)sizeof(struct burst));
  return object;
}

static void free_state(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  aead_remove_all(data);
  free(data);
}

NAPI_MODULE_INIT() {
  struct addon_state *state = calloc(1, sizeof *state);
  if (state == NULL || napi_set_instance_data(env, state, free_state, NULL) != napi_ok) {
    free(state);
    napi_throw_error(env, "ENOMEM", "no memory for the addon's state");
    return NULL;
  }
  define(env, exports, "layout", layout);
  register_tun(env, exports);
  register_tun_bursts(env, exports);
  register_sockets(env, exports);
  register_datagrams(env, exports);
  register_wait(env, exports);
  register_aead(env, exports);
  register_program(env, exports);
  return exports;
}
