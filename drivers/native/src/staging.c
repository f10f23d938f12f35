#include "staging.h"

#include <stdlib.h>

static struct staging *find(const struct addon_state *state, int32_t fd) {
  struct staging *staging = state->stagings;
  while (staging != NULL && staging->fd != fd) staging = staging->next;
  return staging;
}

struct staging *staging_of(struct addon_state *state, int32_t fd) {
  struct staging *staging = find(state, fd);
  if (staging != NULL || fd < 0) return staging;
  staging = calloc(1, sizeof *staging);
  if (staging == NULL) return NULL;
  staging->fd = fd;
  staging->next = state->stagings;
  state->stagings = staging;
  return staging;
}

bool staging_pending(const struct addon_state *state, int32_t fd) {
  const struct staging *staging = find(state, fd);
  return staging != NULL && staging->current < staging->messages;
}

void staging_remove(struct addon_state *state, int32_t fd) {
  for (struct staging **at = &state->stagings; *at != NULL; at = &(*at)->next) {
    if ((*at)->fd != fd) continue;
    struct staging *gone = *at;
    *at = gone->next;
    free(gone);
    return;
  }
}

void staging_remove_all(struct addon_state *state) {
  while (state->stagings != NULL) staging_remove(state, state->stagings->fd);
}
