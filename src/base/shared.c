#include "base/shared.h"

#include "base/map.h"
#include "base/mem.h"

struct shared *shared_get(struct shared_set *set, struct bytes name,
			  struct shared *(*make)(const void *arg), const void *arg)
{
	pthread_mutex_lock(&set->lock);
	if (!set->by_name)
		set->by_name = map_new();
	struct shared *s = map_find(set->by_name, name);
	if (!s) {
		s = make(arg);
		s->set = set;
		s->name = (uint8_t *)mem_strndup(name);
		s->name_len = name.len;
		s->refs = 0;
		map_put(set->by_name, name, s);
	}
	s->refs++;
	pthread_mutex_unlock(&set->lock);
	return s;
}

void shared_ref(struct shared *s)
{
	pthread_mutex_lock(&s->set->lock);
	s->refs++;
	pthread_mutex_unlock(&s->set->lock);
}

void shared_unref(struct shared *s, void (*destroy)(struct shared *s))
{
	struct shared_set *set = s->set;

	pthread_mutex_lock(&set->lock);
	bool is_last = --s->refs == 0;
	if (is_last)
		map_take(set->by_name, bytes_of(s->name, s->name_len));
	/* So that nothing of an empty set is left. */
	if (is_last && map_count(set->by_name) == 0)
		set->by_name = map_free(set->by_name);
	pthread_mutex_unlock(&set->lock);
	if (!is_last)
		return;
	mem_free(s->name);
	destroy(s);
}
