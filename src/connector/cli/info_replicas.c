#include "connector/cli/info_replicas.h"

#include <stdio.h>

#include "connector/cli/render.h"

json_t *info_replica_json(const struct rest_replica *r)
{
	json_t *services = json_array();

	for (size_t i = 0; i < r->service_count; i++) {
		const struct rest_service *s = &r->services[i];
		json_array_append_new(services, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}",
							  "hostname", s->hostname, "path", s->path,
							  "service", s->service, "state", s->state,
							  "error", s->error, "since", s->since));
	}
	return json_pack("{s:s, s:I, s:b, s:o}", "label", r->label, "weight", (json_int_t)r->weight,
			 "backup", (int)r->is_backup, "services", services);
}

static bool is_plain(const struct rest_replica *r)
{
	return !r->is_told || (!*r->label && r->weight <= 1 && !r->is_backup && !r->service_count);
}

static void print_summary(const struct rest_connector *connectors, size_t count)
{
	size_t total = 0, unhealthy = 0;

	for (size_t i = 0; i < count; i++) {
		const struct rest_replica *r = &connectors[i].replica;
		total += r->service_count;
		for (size_t k = 0; k < r->service_count; k++)
			unhealthy += strcmp(r->services[k].state, "unhealthy") == 0;
	}
	(void)printf("\nTunnel:   %zu connector%s\n", count, count == 1 ? "" : "s");
	if (total == 0)
		(void)printf("Services: not checked\n\n");
	else
		(void)printf("Services: %zu of %zu checked unhealthy\n\n", unhealthy, total);
}

static void add_rows(struct table *table, const struct rest_connector *c)
{
	const struct rest_replica *r = &c->replica;
	char weight[24];

	(void)snprintf(weight, sizeof(weight), "%lld%s", (long long)r->weight,
		       r->is_backup ? " backup" : "");
	for (size_t i = 0; i < r->service_count || i == 0; i++) {
		static const struct rest_service none = { "-", "", "-", "-", "", "" };
		const struct rest_service *s = r->service_count ? &r->services[i] : &none;
		char where[512];
		(void)snprintf(where, sizeof(where), "%s%s%s", *s->hostname ? s->hostname : "*",
			       *s->path ? " " : "", s->path);
		table_row(table, 7,
			  (const char *[]){ c->id, *r->label ? r->label : "-", weight, where,
					    s->service, s->state, s->error });
	}
}

void info_print_replicas(const struct rest_connector *connectors, size_t count)
{
	struct table table = { 0 };
	bool is_interesting = false;

	for (size_t i = 0; i < count; i++)
		is_interesting |= !is_plain(&connectors[i].replica);
	if (!is_interesting)
		return;
	print_summary(connectors, count);
	table_row(&table, 7,
		  (const char *[]){ "CONNECTOR ID", "LABEL", "WEIGHT", "HOSTNAME", "SERVICE",
				    "STATE", "ERROR" });
	for (size_t i = 0; i < count; i++)
		add_rows(&table, &connectors[i]);
	table_print(&table, stdout);
	table_done(&table);
}
