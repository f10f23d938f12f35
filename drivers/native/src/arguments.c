/* Checks of what JavaScript passes in: misuse throws, it never reaches a pointer. */
#define _GNU_SOURCE
#include "addon.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool misuse(napi_env env, const char *name, const char *expected) {
  char text[160];
  snprintf(text, sizeof text, "%s must be %s", name, expected);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
  return false;
}

bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok || given < count)
    return misuse(env, "the call", "made with all its arguments");
  return true;
}

bool get_int(napi_env env, napi_value value, const char *name, int32_t *out) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= -2147483648.0 && number <= 2147483647.0) ||
      number != (double)(int32_t)number)
    return misuse(env, name, "a 32-bit integer");
  *out = (int32_t)number;
  return true;
}

bool get_bool(napi_env env, napi_value value, const char *name, bool *out) {
  return napi_get_value_bool(env, value, out) == napi_ok || misuse(env, name, "a boolean");
}

bool get_text(napi_env env, napi_value value, const char *name, bool optional, char *out, size_t size) {
  napi_valuetype type;
  out[0] = 0;
  if (optional && napi_typeof(env, value, &type) == napi_ok && type == napi_undefined) return true;
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return misuse(env, name, "a string");
  if (length >= size || napi_get_value_string_utf8(env, value, out, size, &length) != napi_ok || strlen(out) != length)
    return misuse(env, name, "shorter and without NUL");
  return true;
}

bool get_bytes(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length) {
  bool is = false;
  napi_typedarray_type type;
  if (napi_is_typedarray(env, value, &is) != napi_ok || !is ||
      napi_get_typedarray_info(env, value, &type, length, (void **)data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return misuse(env, name, "a Uint8Array");
  return true;
}

bool get_burst(napi_env env, napi_value memory, napi_value count, struct burst **burst, int32_t *packets) {
  size_t size = 0;
  if (napi_get_arraybuffer_info(env, memory, (void **)burst, &size) != napi_ok || size != sizeof(struct burst))
    return misuse(env, "memory", "the ArrayBuffer of a Burst");
  if (!get_int(env, count, "count", packets)) return false;
  if (*packets < 0 || *packets > BURST_PACKETS) return misuse(env, "count", "0 to 1024");
  return true;
}

bool get_address(napi_env env, napi_value address, napi_value port, struct sockaddr_storage *out, socklen_t *length) {
  char text[INET6_ADDRSTRLEN];
  int32_t number;
  if (!get_text(env, address, "address", false, text, sizeof text) || !get_int(env, port, "port", &number)) return false;
  if (number < 0 || number > 65535) return misuse(env, "port", "0 to 65535");
  memset(out, 0, sizeof *out);
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)number);
    *length = sizeof *v4;
    return true;
  }
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)number);
    *length = sizeof *v6;
    return true;
  }
  return misuse(env, "address", "a literal IPv4 or IPv6 address");
}

napi_value make_int(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value undefined(napi_env env) {
  napi_value result = NULL;
  napi_get_undefined(env, &result);
  return result;
}

napi_value throw_errno(napi_env env, int error, const char *syscall) {
  const char *name = strerrorname_np(error);
  char text[200], described[100];
  snprintf(text, sizeof text, "%s: %s", syscall, strerror_r(error, described, sizeof described));
  napi_value code, message, object, value;
  if (napi_create_string_utf8(env, name == NULL ? "UNKNOWN" : name, NAPI_AUTO_LENGTH, &code) != napi_ok ||
      napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok ||
      napi_create_error(env, code, message, &object) != napi_ok)
    return NULL;
  if (napi_create_int32(env, error, &value) == napi_ok) napi_set_named_property(env, object, "errno", value);
  if (napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value) == napi_ok)
    napi_set_named_property(env, object, "syscall", value);
  napi_throw(env, object);
  return NULL;
}
