#include "config/yaml_tree.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

/* Nodes of one document: a node costs about 100 bytes, so a file of LIMIT_CONFIG_BYTES made of "- - -" or
 * of merge keys that repeat one mapping cannot take more than some 100 MB. The largest ingress file
 * anybody needs (LIMIT_INGRESS_RULES rules of 40 nodes) fits. */
#define LIMIT_NODES 1000000
/* Nodes live in runs of this many. */
#define NODE_RUN 64

/* A collection that is not closed yet. */
struct open_node {
	struct yaml_node *node;         /* borrowed from the arena */
	const struct yaml_node **items; /* owned */
	size_t count, cap;              /* of items */
	const char *anchor;             /* borrowed from the arena; NULL: none */
};

struct builder {
	struct yaml_doc *doc;
	struct err *err;
	struct map *anchors; /* name to node; only of closed nodes, so there are no cycles */
	struct open_node open[LIMIT_CONFIG_DEPTH];
	size_t depth;
	size_t node_count;
	struct yaml_node *run; /* borrowed from the arena: free nodes */
	size_t run_left;
	bool has_root;
};

static int place_error(struct builder *b, int code, int line, int column, const char *what)
{
	return err_set(b->err, code, "%s:%d:%d: %s", b->doc->file_name, line, column, what);
}

static int node_error(struct builder *b, int code, const struct yaml_node *n, const char *what)
{
	return place_error(b, code, n->line, n->column, what);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, const struct fy_mark *mark)
{
	if (b->run_left == 0) {
		b->run = arena_alloc(&b->doc->arena, NODE_RUN * sizeof(*b->run));
		b->run_left = NODE_RUN;
	}
	b->run_left--;
	b->node_count++;
	struct yaml_node *n = b->run++;
	n->doc = b->doc;
	n->kind = kind;
	n->line = mark ? mark->line + 1 : 1;
	n->column = mark ? mark->column + 1 : 1;
	return n;
}

/* NULL for no token; `*ret_ok` false when the text holds a NUL. */
static const char *token_text(struct builder *b, struct fy_token *token, bool *ret_ok)
{
	size_t len = 0;
	const char *text = token ? fy_token_get_text(token, &len) : NULL;

	*ret_ok = !text || len == 0 || !memchr(text, 0, len);
	if (!text || !*ret_ok)
		return NULL;
	return arena_strdup(&b->doc->arena, bytes_of(text, len));
}

static int item_append(struct builder *b, struct open_node *o, const struct yaml_node *n)
{
	if (o->count >= LIMIT_NODES)
		return node_error(b, E_LIMIT, n, "too many values");
	if (o->count == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 8;
		o->items = mem_resize(o->items, o->cap * sizeof(*o->items));
	}
	o->items[o->count++] = n;
	return 0;
}

static void anchor_put(struct builder *b, const char *anchor, const struct yaml_node *n)
{
	if (anchor)
		map_put(b->anchors, bytes_str(anchor), (void *)(uintptr_t)n);
}

/* A finished value goes where the innermost open collection, or the document, wants it. */
static int value_add(struct builder *b, const struct yaml_node *n)
{
	if (b->node_count > LIMIT_NODES)
		return node_error(b, E_LIMIT, n, "too many values");
	if (b->depth == 0) {
		b->doc->root = n;
		return 0;
	}
	struct open_node *o = &b->open[b->depth - 1];
	bool is_key = o->node->kind == YAML_MAPPING && o->count % 2 == 0;
	if (is_key && n->kind != YAML_SCALAR && n->kind != YAML_NULL)
		return node_error(b, E_PARSE, n, "a key must be a plain word, not a list or a map");
	return item_append(b, o, n);
}

static bool is_merge_key(const struct yaml_node *key)
{
	return key->kind == YAML_SCALAR && !key->is_quoted && strcmp(key->text, "<<") == 0;
}

static int merge_one(struct builder *b, struct open_node *to, struct map *seen,
		     const struct yaml_node *from)
{
	if (from->kind != YAML_MAPPING)
		return node_error(b, E_PARSE, from, "only a map can be merged");
	for (size_t i = 0; i < from->count; i++) {
		const struct yaml_node *key = from->items[2 * i];
		const struct yaml_node *value = from->items[2 * i + 1];

		if (map_find(seen, bytes_str(key->text)))
			continue;
		map_put(seen, bytes_str(key->text), to);
		b->node_count++;
		if (b->node_count > LIMIT_NODES)
			return node_error(b, E_LIMIT, from, "too many values");
		int r = item_append(b, to, key);
		if (r == 0)
			r = item_append(b, to, value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Replaces the pairs of `o`: own keys first, then those that "<<" brings and that are not there yet. */
static int mapping_finish(struct builder *b, struct open_node *o)
{
	struct map *seen = map_new();
	struct open_node out = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->count; i += 2) {
		if (is_merge_key(o->items[i]))
			continue;
		if (map_put(seen, bytes_str(o->items[i]->text), o))
			r = err_set(b->err, E_PARSE, "%s:%d:%d: duplicate key \"%.100s\"",
				    b->doc->file_name, o->items[i]->line, o->items[i]->column,
				    o->items[i]->text);
		else
			r = item_append(b, &out, o->items[i]);
		if (r == 0)
			r = item_append(b, &out, o->items[i + 1]);
	}
	for (size_t i = 0; r == 0 && i < o->count; i += 2) {
		const struct yaml_node *from = o->items[i + 1];

		if (!is_merge_key(o->items[i]))
			continue;
		if (from->kind != YAML_SEQUENCE)
			r = merge_one(b, &out, seen, from);
		else
			for (size_t k = 0; r == 0 && k < from->count; k++)
				r = merge_one(b, &out, seen, from->items[k]);
	}
	map_free(seen);
	mem_free(o->items);
	o->items = out.items;
	o->count = out.count;
	o->cap = out.cap;
	return r;
}

static int on_collection_start(struct builder *b, enum yaml_kind kind, struct fy_token *anchor,
			       const struct fy_mark *mark)
{
	struct yaml_node *n = node_new(b, kind, mark);
	bool ok;

	if (b->depth == LIMIT_CONFIG_DEPTH)
		return node_error(b, E_LIMIT, n, "nested too deeply");
	const char *name = token_text(b, anchor, &ok);
	b->open[b->depth++] = (struct open_node){ .node = n, .anchor = name };
	return 0;
}

static int on_collection_end(struct builder *b)
{
	struct open_node *o = &b->open[b->depth - 1];
	struct yaml_node *n = o->node;

	if (n->kind == YAML_MAPPING) {
		int r = mapping_finish(b, o);
		if (r < 0)
			return r;
	}
	if (o->count) {
		size_t size = o->count * sizeof(*o->items);
		const struct yaml_node **items = arena_alloc(&b->doc->arena, size);
		memcpy(items, o->items, size);
		n->items = items;
	}
	n->count = n->kind == YAML_MAPPING ? o->count / 2 : o->count;
	mem_free(o->items);
	b->depth--;
	anchor_put(b, o->anchor, n);
	return value_add(b, n);
}

static bool is_null_text(const char *text)
{
	return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
	       strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static int on_scalar(struct builder *b, const struct fy_event_scalar_data *s,
		     const struct fy_mark *mark)
{
	struct yaml_node *n = node_new(b, YAML_SCALAR, mark);
	bool ok, ok_tag, ok_anchor;

	n->text = token_text(b, s->value, &ok);
	const char *tag = token_text(b, s->tag, &ok_tag);
	const char *anchor = token_text(b, s->anchor, &ok_anchor);
	if (!ok || !ok_tag || !ok_anchor)
		return node_error(b, E_PARSE, n, "a NUL byte has no place here");
	if (!n->text)
		n->text = "";
	enum fy_scalar_style style = s->value ? fy_token_scalar_style(s->value) : FYSS_PLAIN;
	/* The mark stands behind the opening quote. */
	if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && n->column > 1)
		n->column--;
	n->is_quoted =
		style != FYSS_PLAIN ||
		(tag && (strcmp(tag, "!!str") == 0 || strcmp(tag, "tag:yaml.org,2002:str") == 0));
	if (!n->is_quoted && is_null_text(n->text))
		n->kind = YAML_NULL;
	anchor_put(b, anchor, n);
	return value_add(b, n);
}

static int on_alias(struct builder *b, const struct fy_event_alias_data *alias,
		    const struct fy_mark *mark)
{
	/* The mark stands behind the asterisk. */
	int line = mark ? mark->line + 1 : 1, column = mark && mark->column ? mark->column : 1;
	bool ok;
	const char *name = token_text(b, alias->anchor, &ok);
	const struct yaml_node *n = name ? map_find(b->anchors, bytes_str(name)) : NULL;

	if (!n)
		return err_set(b->err, E_PARSE,
			       "%s:%d:%d: *%.100s names nothing that is complete above it",
			       b->doc->file_name, line, column, name ? name : "");
	/* The node is shared, not copied: however often it is named, memory does not grow. */
	return value_add(b, n);
}

static int on_document_start(struct builder *b, const struct fy_mark *mark)
{
	if (b->has_root)
		return place_error(b, E_PARSE, mark ? mark->line + 1 : 1,
				   mark ? mark->column + 1 : 1,
				   "a second document is not read; use one file for each");
	b->has_root = true;
	return 0;
}

static int on_event(struct builder *b, struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);

	switch (event->type) {
	case FYET_DOCUMENT_START:
		return on_document_start(b, mark);
	case FYET_MAPPING_START:
		return on_collection_start(b, YAML_MAPPING, event->mapping_start.anchor, mark);
	case FYET_SEQUENCE_START:
		return on_collection_start(b, YAML_SEQUENCE, event->sequence_start.anchor, mark);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return on_collection_end(b);
	case FYET_SCALAR:
		return on_scalar(b, &event->scalar, mark);
	case FYET_ALIAS:
		return on_alias(b, &event->alias, mark);
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_STREAM_END:
	case FYET_DOCUMENT_END:
		break;
	}
	return 0;
}

/* Keeps the library's complaints from stderr: library_error() tells the first. */
static void on_diag(struct fy_diag *diag, void *user, const char *text, size_t len)
{
	(void)diag, (void)user, (void)text, (void)len;
}

static int library_error(struct builder *b, struct fy_diag *diag)
{
	void *cursor = NULL;
	const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &cursor);

	if (!e || !e->msg)
		return err_set(b->err, E_PARSE, "%s: this is not YAML", b->doc->file_name);
	return place_error(b, E_PARSE, e->line > 0 ? e->line : 1, e->column > 0 ? e->column : 1,
			   e->msg);
}

static int parse_events(struct builder *b, struct bytes text)
{
	struct fy_diag_cfg diag_cfg;
	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.output_fn = on_diag;
	struct fy_diag *diag = mem_made(fy_diag_create(&diag_cfg));
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg cfg = { .flags = FYPCF_JSON_NONE, .diag = diag };
	struct fy_parser *parser = mem_made(fy_parser_create(&cfg));

	int r = 0;
	if (fy_parser_set_string(parser, (const char *)text.ptr, text.len) != 0)
		r = library_error(b, diag);
	while (r == 0) {
		struct fy_event *event = fy_parser_parse(parser);
		if (!event) {
			if (fy_diag_got_error(diag))
				r = library_error(b, diag);
			break;
		}
		r = on_event(b, event);
		bool is_end = event->type == FYET_STREAM_END;
		fy_parser_event_free(parser, event);
		if (is_end)
			break;
	}
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return r;
}

/* Bytes of the UTF-8 character at the front (RFC 3629), 0 when there is none. */
static size_t utf8_size(struct bytes b)
{
	uint8_t c = b.ptr[0];
	size_t size = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 4;

	if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || size > b.len)
		return 0;
	for (size_t i = 1; i < size; i++)
		if ((b.ptr[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((c == 0xe0 && b.ptr[1] < 0xa0) || (c == 0xed && b.ptr[1] > 0x9f) ||
	    (c == 0xf0 && b.ptr[1] < 0x90) || (c == 0xf4 && b.ptr[1] > 0x8f))
		return 0;
	return size;
}

/* libfyaml 0.7.12 never returns from some malformed UTF-8, and accepts control bytes that YAML forbids;
 * so it gets clean text only. Directives say nothing that we would act on. */
static int check_text(struct builder *b, struct bytes text)
{
	int line = 1, column = 1;
	bool is_prologue = true;

	while (text.len) {
		uint8_t c = text.ptr[0];
		size_t size = utf8_size(text);

		if (size == 0)
			return place_error(b, E_PARSE, line, column, "this is not UTF-8 text");
		if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
			return place_error(b, E_PARSE, line, column,
					   "a control byte has no place here");
		if (is_prologue && column == 1) {
			if (c == '%')
				return place_error(b, E_PARSE, line, column,
						   "directives are not read");
			is_prologue = c == '#' || c == '\n' || c == '\r';
		}
		if (c == '\n') {
			line++;
			column = 1;
		} else {
			column++;
		}
		text = bytes_from(text, size);
	}
	return 0;
}

struct yaml_doc *yaml_parse(struct bytes text, const char *file_name, struct err *err)
{
	if (text.len > LIMIT_CONFIG_BYTES) {
		err_set(err, E_LIMIT, "%s: larger than %d bytes", file_name, LIMIT_CONFIG_BYTES);
		return NULL;
	}
	struct yaml_doc *doc = mem_alloc(sizeof(*doc));
	arena_init(&doc->arena);
	doc->file_name = arena_strdup(&doc->arena, bytes_str(file_name));
	struct builder *b = mem_alloc(sizeof(*b));
	b->doc = doc;
	b->err = err;
	b->anchors = map_new();

	int r = check_text(b, text);
	if (r == 0 && text.len)
		r = parse_events(b, text);
	while (b->depth > 0)
		mem_free(b->open[--b->depth].items);
	map_free(b->anchors);
	mem_free(b);
	if (r < 0)
		return yaml_free(doc);
	if (doc->root && doc->root->kind == YAML_NULL && !*doc->root->text)
		doc->root = NULL;
	return doc;
}

struct yaml_doc *yaml_load(const char *path, struct err *err)
{
	/* A plain file of ours: stdio is enough, no loop waits for it. */
	FILE *file = fopen(path, "rbe");
	if (!file) {
		err_set_errno(err, errno == ENOENT || errno == ENOTDIR ? E_NOT_FOUND : E_IO, errno,
			      "%s", path);
		return NULL;
	}
	uint8_t *text = mem_alloc(LIMIT_CONFIG_BYTES + 1);
	size_t len = fread(text, 1, LIMIT_CONFIG_BYTES + 1, file);
	struct yaml_doc *doc = NULL;
	if (ferror(file))
		err_set_errno(err, E_IO, errno, "%s", path);
	else
		doc = yaml_parse(bytes_of(text, len), path, err);
	(void)fclose(file);
	mem_free(text);
	return doc;
}

struct yaml_doc *yaml_free(struct yaml_doc *doc)
{
	if (!doc)
		return NULL;
	arena_done(&doc->arena);
	return mem_free(doc);
}

const struct yaml_node *yaml_root(const struct yaml_doc *doc)
{
	return doc->root;
}

const char *yaml_file_name(const struct yaml_doc *doc)
{
	return doc->file_name;
}
