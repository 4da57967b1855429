/* Administration of people's passkeys: who has lost a device, or left it somewhere. */
#include "base/mem.h"
#include "edge/access/api_access.h"
#include "edge/access/desk.h"
#include "store/store_access.h"

/* The person of the path; false after having answered. */
static bool find_person(struct ask *a, struct store_person *ret)
{
	const char *email = arena_strdup(&a->request->arena, a->args[0]);
	struct err err = { 0 };

	if (store_person_find(a->control->store, email, ret, &err) == 0)
		return true;
	(void)answer_store_error(a, &err);
	return false;
}

enum ask_result api_people_passkeys(struct ask *a)
{
	struct store_passkey *keys;
	struct store_person person;
	struct err err = { 0 };
	json_t *list;
	size_t count;
	int r;

	if (!find_person(a, &person))
		return ASK_ANSWERED;
	r = store_passkey_list(a->control->store, &person.id, &keys, &count, &err);
	store_person_done(&person);
	if (r < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:i, s:o}", "id", keys[i].id, "name",
						keys[i].name, "algorithm", keys[i].algorithm,
						"created_at", api_time_json(keys[i].created_at)));
		store_passkey_done(&keys[i]);
	}
	mem_free(keys);
	return answer_list(a, list, 1, count > 20 ? count : 20, count);
}

enum ask_result api_people_passkey_delete(struct ask *a)
{
	const char *id = arena_strdup(&a->request->arena, a->args[1]);
	struct store_person person;
	struct err err = { 0 };
	int r;

	if (!find_person(a, &person))
		return ASK_ANSWERED;
	r = store_passkey_remove(a->control->store, &person.id, id, &err);
	if (r == 0)
		desk_audit(a, "passkey.remove", "administrator", person.email, "done", "{}");
	store_person_done(&person);
	return r < 0 ? answer_store_error(a, &err) : answer_result(a, json_pack("{s:s}", "id", id));
}
