/* Public ports. A route that is deleted is gone: nobody asks which ports there once were. */
#include "base/mem.h"
#include "store/names.h"
#include "store/store_internal.h"

#define SELECT_PORT                                                                              \
	"SELECT p.id, p.account, p.protocol, p.port, p.tunnel, t.name, p.service, "              \
	"p.proxy_protocol, p.comment, p.created_at FROM port_routes p JOIN tunnels t ON t.id = " \
	"p.tunnel WHERE "

void store_port_done(struct store_port *p)
{
	p->tunnel_name = mem_free(p->tunnel_name);
	p->service = mem_free(p->service);
	p->comment = mem_free(p->comment);
}

static void port_item_done(void *item)
{
	store_port_done(item);
}

static const char *protocol_text(bool is_udp)
{
	return is_udp ? "udp" : "tcp";
}

static int on_port(void *ctx, const struct store_value *row)
{
	struct store_port *p = store_rows_add(ctx);
	int r = store_column_uuid(&row[0], &p->id);

	if (r == 0)
		r = store_column_account(&row[1], p->account);
	p->is_udp = bytes_eq(row[2].bytes, BYTES_LIT("udp"));
	if (row[3].number < 1 || row[3].number > UINT16_MAX)
		return E_INTERNAL;
	p->port = (uint16_t)row[3].number;
	if (r == 0)
		r = store_column_uuid(&row[4], &p->tunnel);
	p->tunnel_name = store_column_text(&row[5]);
	p->service = store_column_text(&row[6]);
	p->has_proxy_header = row[7].bytes.len > 0;
	p->comment = store_column_text(&row[8]);
	p->created_at = row[9].number;
	return r;
}

/* --- One ---------------------------------------------------------------------------------------- */

/* Inside a write. */
static int insert_port(struct store *s, const struct store_port *p, struct err *err)
{
	const char *protocol = protocol_text(p->is_udp);
	char id[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];
	int r = store_query(
		s, "SELECT id FROM tunnels WHERE id = $1 AND account = $2 AND deleted_at = 0",
		STORE_PARAMS(store_text(uuid_text(&p->tunnel, tunnel)), store_text(p->account)),
		NULL, NULL, err);

	if (r == 0)
		return err_set(err, E_NOT_FOUND, "there is no tunnel %s", tunnel);
	if (r > 0)
		r = store_query(s, "SELECT id FROM port_routes WHERE protocol = $1 AND port = $2",
				STORE_PARAMS(store_text(protocol), store_int(p->port)), NULL, NULL,
				err);
	if (r > 0)
		return err_set(err, E_EXISTS, "the port %s/%u is taken", protocol, p->port);
	if (r < 0)
		return r;
	return store_query(
		s,
		"INSERT INTO port_routes (id, account, protocol, port, tunnel, service, "
		"proxy_protocol, comment, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		STORE_PARAMS(store_text(uuid_text(&p->id, id)), store_text(p->account),
			     store_text(protocol), store_int(p->port), store_text(tunnel),
			     store_text(p->service), store_text(p->has_proxy_header ? "v2" : ""),
			     store_text(p->comment), store_int(p->created_at)),
		NULL, NULL, err);
}

int store_port_add(struct store *s, const struct store_port *port, struct store_port *ret,
		   struct err *err)
{
	struct store_port p = *port;
	int r = name_note(p.comment, err);

	if (r < 0)
		return r;
	if (strlen(p.account) != 32)
		return err_set(err, E_INVALID, "an account id has 32 hex digits");
	if (p.port == 0)
		return err_set(err, E_INVALID, "a port is a number from 1 to 65535");
	p.id = uuid_random();
	p.created_at = clock_wall_now();
	r = store_begin_write(s, err);
	if (r == 0)
		r = store_end_write(s, insert_port(s, &p, err), "port added", err);
	return r < 0 ? r : store_port_get(s, p.account, &p.id, ret, err);
}

static int not_found(const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];

	return err_set(err, E_NOT_FOUND, "there is no port route %s", uuid_text(id, text));
}

int store_port_get(struct store *s, const char *account, const struct uuid *id,
		   struct store_port *ret, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(*ret), .item_done = port_item_done };
	char text[UUID_TEXT_SIZE];
	int r = store_rows_query(&rows, SELECT_PORT "p.id = $1 AND p.account = $2",
				 STORE_PARAMS(store_text(uuid_text(id, text)), store_text(account)),
				 on_port, err);

	if (r < 0)
		return r;
	r = store_rows_first(&rows, ret);
	return r == E_NOT_FOUND ? not_found(id, err) : r;
}

int store_port_delete(struct store *s, const char *account, const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	int r = store_begin_write(s, err);

	if (r < 0)
		return r;
	r = store_query(s, "DELETE FROM port_routes WHERE id = $1 AND account = $2 RETURNING id",
			STORE_PARAMS(store_text(uuid_text(id, text)), store_text(account)), NULL,
			NULL, err);
	if (r == 0)
		r = not_found(id, err);
	r = store_end_write(s, r, "port deleted", err);
	return r < 0 ? r : 0;
}

/* --- Many --------------------------------------------------------------------------------------- */

int store_port_list(struct store *s, const char *account, struct store_port **ret,
		    size_t *ret_count, struct err *err)
{
	struct store_rows rows = { s, .item_size = sizeof(**ret), .item_done = port_item_done };
	int r = store_rows_query(&rows,
				 SELECT_PORT "(CAST($1 AS TEXT) IS NULL OR p.account = $1) "
					     "ORDER BY p.protocol, p.port",
				 STORE_PARAMS(store_text(account)), on_port, err);

	if (r < 0)
		return r;
	*ret = rows.items;
	*ret_count = rows.count;
	return 0;
}
