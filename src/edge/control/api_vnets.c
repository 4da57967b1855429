/* REST API: `vnet`, the virtual networks that keep overlapping private networks apart. CONTROL.md §3.2. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"

static json_t *vnet_json(const struct store_vnet *v)
{
	char id[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "id", uuid_text(&v->id, id), "name",
			 v->name, "comment", v->comment, "is_default_network", (int)v->is_default,
			 "created_at", api_time_json(v->created_at), "deleted_at",
			 api_time_json(v->deleted_at));
}

/* Every account has a default one from the moment somebody looks. False after having answered. */
static bool ensure_default(struct ask *a)
{
	struct store_vnet preset;
	struct err err = { 0 };

	if (store_vnet_default(a->control->store, a->account, &preset, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	store_vnet_done(&preset);
	return true;
}

static bool read_id(struct ask *a, struct uuid *ret)
{
	if (uuid_parse(a->args[1], ret))
		return true;
	answer_error(a, 400, API_INVALID, "the id of a virtual network is a UUID");
	return false;
}

static enum ask_result answer_vnet(struct ask *a, const struct uuid *id)
{
	struct store_vnet vnet;
	struct err err = { 0 };
	json_t *result;

	if (store_vnet_get(a->control->store, a->account, id, &vnet, &err) < 0)
		return answer_store_error(a, &err);
	result = vnet_json(&vnet);
	store_vnet_done(&vnet);
	return answer_result(a, result);
}

static enum ask_result answer_refusal(struct ask *a, const struct err *err)
{
	if (err->code == E_EXISTS)
		return answer_error(a, 409, API_VNET_EXISTS, "%s", err->text);
	return answer_store_error(a, err);
}

/* --- Making and changing ------------------------------------------------------------------------ */

/* What both bodies may have. */
struct vnet_body {
	const char *name, *comment;
	int is_default; /* -1: not said */
};

static bool read_body(struct ask *a, const json_t *body, struct vnet_body *ret)
{
	return ask_string(a, body, "name", &ret->name) &&
	       ask_string(a, body, "comment", &ret->comment) &&
	       ask_flag(a, body, "is_default_network", &ret->is_default);
}

static enum ask_result add(struct ask *a, const struct vnet_body *wanted)
{
	struct store_vnet vnet;
	struct err err = { 0 };
	json_t *result;

	if (!wanted->name)
		return answer_error(a, 400, API_INVALID, "a virtual network needs a name");
	if (store_vnet_create(a->control->store, a->account, wanted->name,
			      wanted->comment ? wanted->comment : "", wanted->is_default == 1,
			      &vnet, &err) < 0)
		return answer_refusal(a, &err);
	control_changed(a->control);
	result = vnet_json(&vnet);
	store_vnet_done(&vnet);
	return answer_result(a, result);
}

enum ask_result api_vnet_add(struct ask *a)
{
	json_t *body = ask_body(a);
	struct vnet_body wanted;

	if (!body)
		return ASK_ANSWERED;
	if (read_body(a, body, &wanted))
		add(a, &wanted);
	json_decref(body);
	return ASK_ANSWERED;
}

/* An account must have a default one, so it is taken away only by giving it to another. */
static bool loses_default(struct ask *a, const struct uuid *id, const struct vnet_body *wanted)
{
	struct store_vnet vnet;
	bool is_default;

	if (wanted->is_default != 0 ||
	    store_vnet_get(a->control->store, a->account, id, &vnet, NULL) < 0)
		return false;
	is_default = vnet.is_default && !vnet.deleted_at;
	store_vnet_done(&vnet);
	return is_default;
}

static enum ask_result update(struct ask *a, const struct uuid *id, const struct vnet_body *wanted)
{
	const struct store_vnet_change change = {
		.name = wanted->name,
		.comment = wanted->comment,
		.make_default = wanted->is_default == 1,
	};
	struct err err = { 0 };

	if (loses_default(a, id, wanted))
		return answer_error(
			a, 400, API_VNET_DEFAULT,
			"this is the default virtual network; make another one the default instead");
	if (store_vnet_update(a->control->store, a->account, id, &change, &err) < 0)
		return answer_refusal(a, &err);
	control_changed(a->control);
	return answer_vnet(a, id);
}

enum ask_result api_vnet_update(struct ask *a)
{
	struct vnet_body wanted;
	struct uuid id;
	json_t *body;

	if (!read_id(a, &id))
		return ASK_ANSWERED;
	body = ask_body(a);
	if (!body)
		return ASK_ANSWERED;
	if (read_body(a, body, &wanted))
		update(a, &id, &wanted);
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result api_vnet_delete(struct ask *a)
{
	int is_forced = 0;
	struct err err = { 0 };
	struct uuid id;

	if (!read_id(a, &id) || !ask_bool(a, "force", &is_forced))
		return ASK_ANSWERED;
	int rc = store_vnet_delete(a->control->store, a->account, &id, is_forced, &err);
	if (rc == E_BUSY)
		return answer_error(a, 400, API_VNET_USED, "%s", err.text);
	if (rc == E_INVALID)
		return answer_error(a, 400, API_VNET_DEFAULT, "%s", err.text);
	if (rc < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_vnet(a, &id);
}

/* --- Looking ------------------------------------------------------------------------------------ */

enum ask_result api_vnet_get(struct ask *a)
{
	struct uuid id;

	return read_id(a, &id) ? answer_vnet(a, &id) : ASK_ANSWERED;
}

enum ask_result api_vnet_list(struct ask *a)
{
	struct store_vnet_filter filter = {
		.account = a->account,
		.name = ask_text(a, "name"),
		.is_default = -1,
		.is_deleted = -1,
	};
	struct store_vnet *vnets;
	struct err err = { 0 };
	struct uuid id;
	size_t count;
	json_t *list;

	if (!ask_bool(a, "is_default", &filter.is_default) ||
	    !ask_bool(a, "is_default_network", &filter.is_default) ||
	    !ask_bool(a, "is_deleted", &filter.is_deleted) ||
	    (ask_text(a, "id") && !ask_uuid(a, "id", &id)) || !ensure_default(a))
		return ASK_ANSWERED;
	if (ask_text(a, "id"))
		filter.id = &id;
	if (store_vnet_list(a->control->store, &filter, &vnets, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, vnet_json(&vnets[i]));
		store_vnet_done(&vnets[i]);
	}
	mem_free(vnets);
	/* Clients read one page only. */
	return answer_list(a, list, 1, count ? count : 1, count);
}
