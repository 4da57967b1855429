/* Endpoints of the administration for Access, below access/. Arguments: the kind and the id, or an e-mail address. */
#pragma once

#include "edge/control/control_parts.h"

enum ask_result api_access_list(struct ask *a);
enum ask_result api_access_create(struct ask *a);
enum ask_result api_access_get(struct ask *a);
enum ask_result api_access_update(struct ask *a);
enum ask_result api_access_delete(struct ask *a);

/* All of it as one document (edge/access/document.h). */
enum ask_result api_access_export(struct ask *a);
enum ask_result api_access_apply(struct ask *a);
/* Who would be let in, and why: {app, email, ip, country, …}. */
enum ask_result api_access_test(struct ask *a);
enum ask_result api_access_audit(struct ask *a);
/* The one organisation there is; `put` makes it, or changes it. */
enum ask_result api_access_organization_get(struct ask *a);
enum ask_result api_access_organization_put(struct ask *a);
/* As people/:/revoke, with {"email": …}. */
enum ask_result api_access_revoke_user(struct ask *a);
/* API tokens that administer Access: {"name": …} gives {"name", "token"}. */
enum ask_result api_access_tokens_list(struct ask *a);
enum ask_result api_access_tokens_add(struct ask *a);
enum ask_result api_access_tokens_remove(struct ask *a);
/* The SSH authority of an application (access/apps/:/ca). */
enum ask_result api_access_ca(struct ask *a);

enum ask_result api_people_list(struct ask *a);
enum ask_result api_people_add(struct ask *a);
enum ask_result api_people_remove(struct ask *a);
enum ask_result api_people_password(struct ask *a);
enum ask_result api_people_revoke(struct ask *a);
/* A service token: another secret, or another term. */
enum ask_result api_token_rotate(struct ask *a);
enum ask_result api_token_refresh(struct ask *a);
/* All tokens of one application. */
enum ask_result api_access_revoke(struct ask *a);
/* A new signing key at once; what the one before has signed stays good. */
enum ask_result api_access_rotate(struct ask *a);
/* Somebody's passkeys (people/:/passkeys, and people/:/passkeys/: to take one away). */
enum ask_result api_people_passkeys(struct ask *a);
enum ask_result api_people_passkey_delete(struct ask *a);
