/* SPDX-License-Identifier: Apache-2.0 */
#include "key_words.h"

#include "conf/operator.h"

static const char *const conf_default_policy_names[] = {"deny", "authenticated", NULL};
static const char *const conf_drift_names[] = {"mend", "report", NULL};
static const char *const conf_unknown_names[] = {"refuse", "audit", "allow", NULL};
static const char *const conf_workload_unknown_names[] = {"node", "refuse", "audit", "allow", NULL};
static const char *const conf_protocol_names[] = {"detect", "http", "tcp", NULL};
static const char *const conf_mtls_names[] = {"strict", "permissive", "disabled", NULL};
static const char *const conf_balance_names[] = {
	"least_request", "peak_ewma", "round_robin", "random", "ring_hash", "maglev", NULL};
static const char *const conf_zones_names[] = {"ignore", "prefer", "strict", NULL};
static const char *const conf_policy_mode_names[] = {"enforce", "audit", NULL};
static const char *const conf_service_default_names[] = {"mesh", "deny", "authenticated", NULL};

static const struct conf_key conf_node_keys[] = {
	KEY("name", FIELD(struct conf, node_name), .required = true,
		.help = "This machine's name in logs, metrics and status."),
	KEY("address", .plural = "addresses", .type = CONF_ADDRESS,
		LIST(struct conf, node_addresses, node_address_count), .required = true,
		.restart = true,
		.help = "The address, or the list of addresses, at which other machines reach this "
			"one. The mesh port is opened there."),
	KEY("zone", FIELD(struct conf, node_zone),
		.help = "Where the machine stands, such as \"eu-1a\"; shown, and told to others."),
	KEY("user", FIELD(struct conf, user), .fallback = "ringmain", .restart = true,
		.help = "The user that the proxy process runs as. Not root, and no workload's."),
	KEY("workers", .type = CONF_NUMBER, FIELD(struct conf, worker_count), .fallback = "0",
		.max = 256, .restart = true,
		.help = "Worker threads, each with its own ring. 0: one per CPU that the process "
			"may use."),
	KEY("admin_socket", FIELD(struct conf, admin_socket),
		.fallback = "/run/ringmain/admin.sock", .restart = true,
		.help = "The unix socket of the admin API."),
	KEY("admin_tcp", .type = CONF_ADDRESS_PORT, FIELD(struct conf, admin_tcp), .restart = true,
		.help = "A loopback address with port, \"127.0.0.1:15000\", where /metrics, "
			"/healthz and /readyz may be read too. None unless given."),
	KEY("run_dir", FIELD(struct conf, run_dir), .fallback = "/run/ringmain", .restart = true,
		.help = "Sockets and the marks file."),
	KEY("access_log", FIELD(struct conf, access_log), .fallback = "stderr", .restart = true,
		.help = "A file, \"stderr\", or \"off\"."),
};

/* The first of them, `trust_domain`, is the operator's file's too. */
#define CONF_MESH_SHARED_KEYS 1
static const struct conf_key conf_mesh_keys[] = {
	KEY("trust_domain", FIELD(struct conf, trust_domain), .required = true, .restart = true,
		.help = "The mesh's SPIFFE trust domain. A service's identity is spiffe://<trust "
			"domain>/service/<name>, unless it is given another path "
			"(services[].identity)."),
	KEY("default_policy", .type = CONF_ENUM, FIELD(struct conf, default_allow),
		.fallback = "deny", .names = conf_default_policy_names,
		.help = "What holds for a service that no allow rule names. \"authenticated\": any "
			"caller with a verified identity of our own trust domain may."),
	KEY("policy_mode", .type = CONF_ENUM, FIELD(struct conf, is_audited), .fallback = "enforce",
		.names = conf_policy_mode_names,
		.help = "\"audit\": what policy would refuse at this machine's workloads passes, "
			"is "
			"counted and logged."),
	KEY("channels", .type = CONF_BOOL, FIELD(struct conf, channels), .fallback = "true",
		.help = "Requests of one caller to one destination share a connection, each on a "
			"channel of its own. With another proxy that has it switched off, each "
			"takes a connection to itself."),
	KEY("files", LIST(struct conf, mesh_files, mesh_file_count),
		.help = "Mesh files, or directories whose *.conf are read in order of their names. "
			"Relative to the directory of the node file."),
};

/* The first of them, up to `timeout`, are the operator's file's too. */
#define CONF_STATE_SHARED_KEYS 12
static const struct conf_key conf_state_keys[] = {
	KEY("redis", .type = CONF_ADDRESS_PORT, LIST(struct conf, state.redis, state.redis_count),
		.help = "The servers that keep the mesh's state, or the Sentinels that know them: "
			"\"10.77.0.10:6379\". Without it the machine is standalone: mesh objects "
			"come from mesh.files, and nothing else is needed."),
	KEY("sentinel", FIELD(struct conf, state.sentinel),
		.help = "The name of the primary. `redis` is then the list of the Sentinels."),
	KEY("username", FIELD(struct conf, state.username),
		.help = "The ACL user of this node or operator; conf/redis.acl has the rules for "
			"it."),
	KEY("password_file", FIELD(struct conf, state.password_file),
		.help = "Its password, in a file that only its owner can read; a name without "
			"\"/\" is a systemd credential."),
	KEY("sentinel_username", FIELD(struct conf, state.sentinel_username),
		.help = "The same for the Sentinels, which have users of their own."),
	KEY("sentinel_password_file", FIELD(struct conf, state.sentinel_password_file),
		.help = "Its password, kept in the same way."),
	KEY("tls_ca", FIELD(struct conf, state.tls_ca),
		.help = "PEM file of the authorities that the server's certificate may be of. "
			"Given, the connection is TLS 1.3, to Sentinels too; not given, all that "
			"is said can be read and changed on the way."),
	KEY("tls_name", FIELD(struct conf, state.tls_name),
		.help = "The DNS name or address that the server's certificate must have. The "
			"address that is dialled unless given."),
	KEY("tls_certificate", FIELD(struct conf, state.tls_certificate),
		.help = "PEM chain to show to a server that asks for one."),
	KEY("tls_key", FIELD(struct conf, state.tls_key),
		.help = "Its P-256 key, in a file that only root can read."),
	KEY("operators", LIST(struct conf, state.operators, state.operator_count),
		.help = "PEM files with the Ed25519 public keys of those who may publish mesh "
			"objects. Objects signed by nobody else are taken."),
	KEY("timeout", .type = CONF_DURATION, FIELD(struct conf, state.timeout_ms),
		.fallback = "5s", .min = 10, .max = HOUR,
		.help = "For an answer of the store. Then another address is tried."),
	KEY("dir", FIELD(struct conf, state.dir), .fallback = "/var/lib/ringmain", .restart = true,
		.help = "Where the last known state is kept, for a start without the store."),
	KEY("lease", .type = CONF_DURATION, FIELD(struct conf, state.lease_ms), .fallback = "15s",
		.min = SECOND, .max = HOUR,
		.help = "A node that has not spoken up for so long is silent, and its endpoints "
			"are out of the mesh after at most as long again. It speaks up three "
			"times in that time."),
	KEY("resync", .type = CONF_DURATION, FIELD(struct conf, state.resync_ms), .fallback = "5m",
		.min = SECOND, .max = 24 * HOUR,
		.help = "How often everything is compared with the store, whatever the changes "
			"said; give or take a quarter."),
	KEY("hold_percent", .type = CONF_NUMBER, FIELD(struct conf, state.hold_percent),
		.fallback = "30", .max = 100,
		.help = "When more than this share of the nodes, or of a service's endpoints, "
			"falls silent at once, the fault is more likely the store's: they are kept "
			"for `hold`. 100: never kept."),
	KEY("hold", .type = CONF_DURATION, FIELD(struct conf, state.hold_ms), .fallback = "10m",
		.min = SECOND, .max = 24 * HOUR, .help = "How long they are kept."),
};

static const struct conf_key conf_identity_keys[] = {
	KEY("directory", FIELD(struct conf, certificate_dir), .fallback = "/etc/ringmain/identity",
		.help = "Certificate chains, keys and trust anchors. Keys are read by the keeper "
			"only."),
	KEY("ca", LIST(struct conf, authority.servers, authority.server_count),
		.help = "An authority to ask for certificates, over EST (RFC 7030): \"host:port\", "
			"or a list of them when it has several. `ringmain join` makes the start. "
			"Without, `directory` has them all."),
	KEY("ca_label", FIELD(struct conf, authority.label),
		.help = "The label in the authority's paths, when it wants one."),
	KEY("ca_roots", FIELD(struct conf, authority.roots),
		.help = "Trust anchors for the authority's own server certificate, PEM. Unless "
			"given, the mesh's."),
	KEY("keep", FIELD(struct conf, authority.keep_dir),
		.fallback = "/var/lib/ringmain-identity",
		.help = "With `ca`: where the keeper keeps keys and what it was given for them. "
			"Must survive a reboot."),
	KEY("federates", LIST(struct conf, authority.federates, authority.federate_count),
		.help = "With `ca`: other trust domains, whose anchors the authority is asked for, "
			"too. Theirs are good for their own ids only."),
	KEY("refresh", .type = CONF_DURATION, FIELD(struct conf, authority.refresh_ms),
		.fallback = "1m", .min = SECOND, .max = 24 * HOUR,
		.help = "With `ca`: how often it is asked for trust anchors and revoked "
			"certificates."),
	KEY("refuse_stale_crls", .type = CONF_BOOL, FIELD(struct conf, refuse_stale_crls),
		.fallback = "false",
		.help = "Whether nobody is let in any more when the list of revoked certificates "
			"is over its time, or whether the last one known holds on."),
	KEY("resumption", .type = CONF_BOOL, FIELD(struct conf, resumption), .fallback = "true",
		.help = "Whether connections to other machines resume a TLS session that there "
			"was. Without, each of them proves both identities anew, which costs "
			"more."),
};

static const struct conf_key conf_tokens_keys[] = {
	KEY("dir", FIELD(struct conf, tokens.dir), .fallback = "/etc/ringmain/jwks",
		.help = "Keys of issuers that have no URL: for the issuer \"staff\" the JWK Set in "
			"staff.json. Read at the start and by a reload."),
	KEY("refresh", .type = CONF_DURATION, FIELD(struct conf, tokens.refresh_ms),
		.fallback = "5m", .min = SECOND, .max = 24 * HOUR,
		.help = "How often the keys of issuers that have a URL are fetched, give or take a "
			"tenth. When that fails those that were fetched last go on."),
	KEY("ca", FIELD(struct conf, tokens.ca),
		.help = "PEM file of the authorities that the certificates of these servers may be "
			"of; those of the system unless given. The user of the processes must be "
			"able to read it."),
	KEY("allow_addresses", .type = CONF_RANGE,
		LIST(struct conf, tokens.allowed, tokens.allowed_count),
		.help = "Addresses that a URL may lead to although they are loopback, link-local "
			"or a cloud's metadata. None unless given: who may write mesh objects "
			"could "
			"have this machine asked for its secrets otherwise."),
};

static const struct conf_key conf_listeners_keys[] = {
	KEY("outbound_port", .type = CONF_NUMBER, FIELD(struct conf, outbound_port),
		.fallback = "15201", .min = 1, .max = 65535, .restart = true,
		.help = "First port for captured connections of workloads to others."),
	KEY("inbound_port", .type = CONF_NUMBER, FIELD(struct conf, inbound_port),
		.fallback = "15101", .min = 1, .max = 65535, .restart = true,
		.help = "First port for captured connections to workloads."),
	KEY("port_range", .type = CONF_NUMBER, FIELD(struct conf, port_range), .fallback = "16",
		.min = 1, .max = 256, .restart = true,
		.help = "How many ports each of the two has. More than one, because the kernel "
			"needs a free one when two captured connections would look alike."),
	KEY("mesh_port", .type = CONF_NUMBER, FIELD(struct conf, mesh_port), .fallback = "15008",
		.min = 1, .max = 65535, .restart = true,
		.help = "Mutual TLS between machines; the same on all of them."),
};

static const struct conf_key conf_redirect_keys[] = {
	KEY("mark_mask", .type = CONF_NUMBER, FIELD(struct conf, mark_mask),
		.fallback = "0x00ff0000", .min = 1, .max = UINT32_MAX, .restart = true,
		.help = "The bits of the packet mark that carry the workload's number: contiguous, "
			"and used by nobody else on the machine. 8 bits are enough for 255 users."),
	KEY("drift", .type = CONF_ENUM, FIELD(struct conf, drift), .fallback = "mend",
		.names = conf_drift_names,
		.help = "What to do when somebody else changed our rules."),
	KEY("exclude", .type = CONF_RANGE, LIST(struct conf, excluded, excluded_count),
		.help = "Destinations that are never captured."),
	KEY("passthrough", .type = CONF_RANGE, LIST(struct conf, passthrough, passthrough_count),
		.help = "Destinations outside the mesh that workloads may reach through the proxy, "
			"as they are, before all else."),
	KEY("unknown", .type = CONF_ENUM, FIELD(struct conf, unknown), .fallback = "refuse",
		.names = conf_unknown_names,
		.help = "What becomes of a workload's connection to what is no service of the "
			"mesh, no external and not in `passthrough`: refused, let through and "
			"logged and counted as such (audit), or let through. This machine, ports "
			"of proxies, and addresses of the machine's own link, at which clouds tell "
			"their secrets (169.254.0.0/16, fe80::/10 and the like), are refused in "
			"any case."),
};

static const struct conf_key conf_limits_keys[] = {
	KEY("connections_max", .type = CONF_NUMBER, FIELD(struct conf, connections_max),
		.fallback = "16384", .min = 16, .max = 1048576, .restart = true,
		.help = "Connections of the whole proxy."),
	KEY("workload_connections_max", .type = CONF_NUMBER,
		FIELD(struct conf, workload_connections_max), .fallback = "4096", .min = 1,
		.max = 1048576,
		.help = "Connections of one workload, in and out, unless it says its own."),
	KEY("buffer_bytes", .type = CONF_BYTES, FIELD(struct conf, buffer_bytes), .fallback = "20K",
		.min = 17 * KIB, .max = MIB, .restart = true,
		.help = "One buffer. It must hold a TLS record (17K) and head_bytes_max with 1K to "
			"spare."),
	KEY("buffers_bytes_max", .type = CONF_BYTES, FIELD(struct conf, buffers_bytes_max),
		.fallback = "256M", .min = MIB, .max = 64 * GIB, .restart = true,
		.help = "All buffers together. Whoever needs one beyond it is answered 503, or "
			"reset."),
	KEY("head_bytes_max", .type = CONF_BYTES, FIELD(struct conf, head_bytes_max),
		.fallback = "16K", .min = KIB, .max = MIB, .restart = true,
		.help = "An HTTP message's start line and headers. Longer ones are answered 431."),
	KEY("header_count_max", .type = CONF_NUMBER, FIELD(struct conf, header_count_max),
		.fallback = "100", .min = 8, .max = 120, .restart = true,
		.help = "Headers of one HTTP message."),
	KEY("pool_idle_max", .type = CONF_NUMBER, FIELD(struct conf, pool_idle_max),
		.fallback = "1024", .max = 65536,
		.help = "Idle connections kept for one (identity, endpoint) by one worker."),
	KEY("handshakes_max", .type = CONF_NUMBER, FIELD(struct conf, handshakes_max),
		.fallback = "64", .min = 1, .max = 65536,
		.help = "TLS handshakes in progress in one worker. More wait unread."),
	KEY("mirrors_max", .type = CONF_NUMBER, FIELD(struct conf, mirrors_max), .fallback = "256",
		.max = 65536, .restart = true,
		.help = "Copies of requests for mirrors, under way at once. More are not made, nor "
			"is any when three quarters of the buffers are in use. 0: none ever."),
	KEY("mirror_body_max", .type = CONF_BYTES, FIELD(struct conf, mirror_body_max),
		.fallback = "64K", .max = MIB, .restart = true,
		.help = "Bytes of a request's body that are kept for a mirror until all of it is "
			"there. A request with a longer one is not mirrored."),
};

static const struct conf_key conf_timeouts_keys[] = {
	KEY("connect", .type = CONF_DURATION, FIELD(struct conf, connect_timeout_ms),
		.fallback = "5s", .min = 1, .max = HOUR, .help = "To an endpoint."),
	KEY("handshake", .type = CONF_DURATION, FIELD(struct conf, handshake_timeout_ms),
		.fallback = "10s", .min = 1, .max = HOUR, .help = "TLS, either side."),
	KEY("header", .type = CONF_DURATION, FIELD(struct conf, header_timeout_ms),
		.fallback = "30s", .min = 1, .max = HOUR,
		.help = "From a request's first byte to the end of its headers."),
	KEY("idle", .type = CONF_DURATION, FIELD(struct conf, idle_timeout_ms), .fallback = "1h",
		.min = SECOND, .max = 24 * 7 * HOUR,
		.help = "A TCP connection on which nothing moves, or a caller's HTTP connection "
			"between requests."),
	KEY("stream_idle", .type = CONF_DURATION, FIELD(struct conf, stream_idle_timeout_ms),
		.fallback = "5m", .min = SECOND, .max = 24 * 7 * HOUR,
		.help = "An HTTP request or response on which nothing moves."),
	KEY("pool_idle", .type = CONF_DURATION, FIELD(struct conf, pool_idle_timeout_ms),
		.fallback = "60s", .min = SECOND, .max = 24 * HOUR,
		.help = "An unused connection in a pool."),
	KEY("detect", .type = CONF_DURATION, FIELD(struct conf, detect_timeout_ms),
		.fallback = "1s", .min = 1, .max = HOUR,
		.help = "Wait for the first bytes where the protocol is to be detected."),
	KEY("half_close", .type = CONF_DURATION, FIELD(struct conf, half_close_timeout_ms),
		.fallback = "5m", .min = 1, .max = 24 * 7 * HOUR,
		.help = "A TCP connection of which one side has ended, when nothing moves."),
	KEY("drain", .type = CONF_DURATION, FIELD(struct conf, drain_timeout_ms), .fallback = "30s",
		.max = 24 * HOUR,
		.help = "For open connections when the proxy stops or is replaced."),
	KEY("request", .type = CONF_DURATION, FIELD(struct conf, request_timeout_ms),
		.fallback = "0s", .max = 24 * HOUR,
		.help = "A whole HTTP request until its response begins. 0s: none."),
	KEY("mirror", .type = CONF_DURATION, FIELD(struct conf, mirror_timeout_ms),
		.fallback = "15s", .min = 1, .max = HOUR,
		.help = "A request's copy for a mirror, from its dispatch to the end of the "
			"answer."),
	KEY("expired", .type = CONF_DURATION, FIELD(struct conf, expired_timeout_ms),
		.fallback = "24h", .max = 24 * 7 * HOUR,
		.help = "How long an open TCP connection may outlive its peer's certificate. "
			"HTTP requests never do."),
};

static const struct conf_key conf_health_keys[] = {
	KEY("http", FIELD(struct conf_workload, health.http),
		.help = "A path such as \"/healthz\": well when it answers a GET with 200 to 399."),
	KEY("tcp", .type = CONF_BOOL, FIELD(struct conf_workload, health.tcp), .fallback = "false",
		.help = "Well when it accepts a connection."),
	KEY("command", LIST(struct conf_workload, health.command, health.command_len),
		.help = "A program, with its whole path, and its arguments: well when it ends with "
			"status 0. It runs as node.user, without a shell."),
	KEY("interval", .type = CONF_DURATION, FIELD(struct conf_workload, health.interval_ms),
		.fallback = "5s", .min = 100, .max = HOUR,
		.help = "From one check to the next, give or take a tenth."),
	KEY("timeout", .type = CONF_DURATION, FIELD(struct conf_workload, health.timeout_ms),
		.fallback = "2s", .min = 10, .max = HOUR, .help = "For one check."),
	KEY("unhealthy_after", .type = CONF_NUMBER,
		FIELD(struct conf_workload, health.unhealthy_count), .fallback = "3", .min = 1,
		.max = 100, .help = "Failed checks in a row until no new calls are sent to it."),
	KEY("healthy_after", .type = CONF_NUMBER, FIELD(struct conf_workload, health.healthy_count),
		.fallback = "2", .min = 1, .max = 100,
		.help = "Good checks in a row until it gets calls again. At the start one is "
			"enough."),
};

static const struct conf_group conf_health_group = {
	.keys = conf_health_keys, .key_count = ARRAY_LEN(conf_health_keys)};

static const struct conf_key conf_workload_keys[] = {
	KEY("service", FIELD(struct conf_workload, service), .required = true,
		.help = "The service that it is. Declared in a mesh file; with a store it "
			"need not be, and is then strict and open to nobody."),
	KEY("identity", FIELD(struct conf_workload, identity),
		.help = "The path of its identity, spiffe://<trust domain>/<identity>: what a "
			"certificate is asked for, and what others see. service/<service> unless "
			"given. It must be one that the service may have (services[].identity)."),
	KEY("user", FIELD(struct conf_workload, user), .required = true,
		.help = "The user that it runs as, by name or number. What the user does is the "
			"service's doing; one user is one workload."),
	KEY("version", FIELD(struct conf_workload, version), .help = "Such as \"v1\"."),
	KEY("port", .type = CONF_NUMBER, FIELD(struct conf_workload, port), .min = 1, .max = 65535,
		.help = "The port that it serves. Without one it only calls others."),
	KEY("protocol", .type = CONF_ENUM, FIELD(struct conf_workload, protocol),
		.names = conf_protocol_names, .help = "The service's unless given."),
	KEY("deliver", .type = CONF_ADDRESS_PORT, FIELD(struct conf_workload, deliver),
		.help = "Where it listens, when that is not 127.0.0.1 and its port. The port may "
			"be left out."),
	KEY("connections_max", .type = CONF_NUMBER, FIELD(struct conf_workload, connections_max),
		.fallback = "0", .max = 1048576,
		.help = "Its connections, in and out. 0: limits.workload_connections_max."),
	KEY("unknown", .type = CONF_ENUM, FIELD(struct conf_workload, unknown), .fallback = "node",
		.names = conf_workload_unknown_names,
		.help = "What becomes of its connections to unknown destinations: "
			"redirect.unknown (node), or as there."),
	KEY("weight", .type = CONF_NUMBER, FIELD(struct conf_workload, weight), .fallback = "100",
		.min = 1, .max = 1000,
		.help = "Its share of the calls to the service's address, against other "
			"endpoints."),
	KEY("health", .type = CONF_GROUP, .group = &conf_health_group,
		.help = "How to ask it whether it is well. Without, it is taken to be; with a "
			"store only."),
};

static const struct conf_key conf_endpoint_keys[] = {
	KEY("address", .plural = "addresses", .type = CONF_ADDRESS,
		LIST(struct conf_endpoint_row, addresses, address_count), .required = true,
		.help = "One address, or all addresses of the one instance."),
	KEY("port", .type = CONF_NUMBER, FIELD(struct conf_endpoint_row, port), .min = 1,
		.max = 65535, .help = "The service's unless given."),
	KEY("version", FIELD(struct conf_endpoint_row, version), .help = "Such as \"v1\"."),
	KEY("zone", FIELD(struct conf_endpoint_row, zone),
		.help = "Where it stands, as in node.zone of its machine."),
	KEY("weight", .type = CONF_NUMBER, FIELD(struct conf_endpoint_row, weight),
		.fallback = "100", .min = 1, .max = 1000,
		.help = "Its share of the calls to the service's address."),
};

static const struct conf_group conf_node_group = {GROUP_OF(conf_node_keys)};
static const struct conf_group conf_mesh_group = {GROUP_OF(conf_mesh_keys)};
static const struct conf_group conf_state_group = {GROUP_OF(conf_state_keys)};
static const struct conf_group conf_identity_group = {GROUP_OF(conf_identity_keys)};
static const struct conf_group conf_tokens_group = {GROUP_OF(conf_tokens_keys)};
static const struct conf_group conf_listeners_group = {GROUP_OF(conf_listeners_keys)};
static const struct conf_group conf_redirect_group = {GROUP_OF(conf_redirect_keys)};
static const struct conf_group conf_limits_group = {GROUP_OF(conf_limits_keys)};
static const struct conf_group conf_timeouts_group = {GROUP_OF(conf_timeouts_keys)};
static const struct conf_group conf_workload_group = {
	GROUP_OF(conf_workload_keys), .row_size = sizeof(struct conf_workload)};
static const struct conf_group conf_endpoint_group = {GROUP_OF(conf_endpoint_keys),
	.row_size = sizeof(struct conf_endpoint_row), .keeps_setting = true};

static const struct conf_key conf_outlier_keys[] = {
	KEY("errors", .type = CONF_NUMBER, FIELD(struct conf_service_row, outlier.errors),
		.fallback = "5", .max = 10000,
		.help = "Gateway errors in a row: responses 502, 503 or 504, none in time, or a "
			"connection that broke before one. 0: however many."),
	KEY("connect_errors", .type = CONF_NUMBER,
		FIELD(struct conf_service_row, outlier.connect_errors), .fallback = "5",
		.max = 10000,
		.help = "Calls in a row for which it could not be connected, or did not prove to "
			"be the service. 0: however many."),
	KEY("success_percent", .type = CONF_NUMBER,
		FIELD(struct conf_service_row, outlier.success_percent), .fallback = "0",
		.max = 100,
		.help = "Ejected, too, when less than this share of its calls of the last ten "
			"seconds went without one of these errors. 0: whatever the share."),
	KEY("success_calls", .type = CONF_NUMBER,
		FIELD(struct conf_service_row, outlier.success_calls), .fallback = "100", .min = 1,
		.max = 1000000, .help = "So many calls there must be for that."),
	KEY("ejection", .type = CONF_DURATION, FIELD(struct conf_service_row, outlier.ejection_ms),
		.fallback = "30s", .min = 100, .max = 24 * HOUR,
		.help = "How long, the first time; the second time twice as long, and so on. Then "
			"one call is the probe that takes it back, or ejects it again."),
	KEY("ejection_max", .type = CONF_DURATION,
		FIELD(struct conf_service_row, outlier.ejection_max_ms), .fallback = "5m",
		.min = 100, .max = 24 * HOUR, .help = "No longer than this."),
	KEY("ejected_percent", .type = CONF_NUMBER,
		FIELD(struct conf_service_row, outlier.ejected_percent), .fallback = "50",
		.max = 100,
		.help = "The share of the endpoints that are up which may be ejected at once; one "
			"may in any case, and the last one never. 0: none is ever ejected."),
};

static const struct conf_group conf_outlier_group = {GROUP_OF(conf_outlier_keys)};

#define BREAKER_KEY(word, limit, text)                                                 \
	KEY(word, .type = CONF_NUMBER, FIELD(struct conf_service_row, breaker[limit]), \
		.fallback = "0", .max = 1048576, .help = text " 0: any number.")
static const struct conf_key conf_breaker_keys[] = {
	BREAKER_KEY("connections", BREAKER_CONNECTIONS,
		"To its endpoints: those of opaque bytes, those that carry requests, and idle "
		"ones kept for the next."),
	BREAKER_KEY("pending", BREAKER_PENDING,
		"Requests, and connections of opaque bytes, that wait until one is there."),
	BREAKER_KEY("requests", BREAKER_REQUESTS, "HTTP requests, until they have ended."),
	BREAKER_KEY("retries", BREAKER_RETRIES,
		"Requests that are being sent again by a route's `retries`."),
};
static const struct conf_group conf_breaker_group = {GROUP_OF(conf_breaker_keys)};

static const struct conf_key conf_retry_budget_keys[] = {
	KEY("percent", .type = CONF_NUMBER, FIELD(struct conf_service_row, retry_budget.percent),
		.fallback = "20", .max = 100,
		.help = "Retries for a hundred requests of the last 10 to 20 seconds, of those "
			"whose rule has retries."),
	KEY("per_second", .type = CONF_NUMBER,
		FIELD(struct conf_service_row, retry_budget.per_second), .fallback = "3",
		.max = 1000, .help = "So many besides, however few requests there are."),
};
static const struct conf_group conf_retry_budget_group = {GROUP_OF(conf_retry_budget_keys)};

static const struct conf_key conf_mtls_keys[] = {
	KEY("port", .type = CONF_NUMBER, FIELD(struct conf_mtls_row, port), .required = true,
		.min = 1, .max = 65535, .help = "Of its workloads and endpoints, as they listen."),
	KEY("mtls", .type = CONF_ENUM, FIELD(struct conf_mtls_row, mode), .required = true,
		.names = conf_mtls_names, .help = "As the service's, for this port."),
};
static const struct conf_group conf_mtls_group = {
	GROUP_OF(conf_mtls_keys), .row_size = sizeof(struct conf_mtls_row), .keeps_setting = true};

static const struct conf_key conf_service_keys[] = {
	KEY("name", FIELD(struct conf_service_row, name), .required = true,
		.help = "Lower-case letters, digits and '-', at most 63."),
	KEY("port", .type = CONF_NUMBER, FIELD(struct conf_service_row, port), .min = 1,
		.max = 65535, .help = "The port of endpoints that give none."),
	KEY("protocol", .type = CONF_ENUM, FIELD(struct conf_service_row, protocol),
		.fallback = "detect", .names = conf_protocol_names,
		.help = "Declare it where you can: detection has to wait for bytes."),
	KEY("server_first", .type = CONF_BOOL, FIELD(struct conf_service_row, server_first),
		.fallback = "false",
		.help = "The server speaks first, as SMTP and MySQL do: with protocol \"tcp\" "
			"only."),
	KEY("mtls", .type = CONF_ENUM, FIELD(struct conf_service_row, mtls), .fallback = "strict",
		.names = conf_mtls_names,
		.help = "Plain text to it is refused (strict), let in without an identity "
			"(permissive), or all that is expected (disabled). Policy holds in every "
			"case."),
	KEY("mtls_ports", .never_empty = true,
		ROWS(struct conf_service_row, mtls_ports, mtls_port_count, &conf_mtls_group),
		.help = "Ports that are not as `mtls` says: one that is open for a monitor, or "
			"one that is closed while the others still take plain text."),
	KEY("default_policy", .type = CONF_ENUM, FIELD(struct conf_service_row, policy_default),
		.fallback = "mesh", .names = conf_service_default_names,
		.help = "What holds for it where no policy matches: mesh.default_policy (mesh), "
			"nobody may (deny), any verified identity of our own trust domain may "
			"(authenticated)."),
	KEY("identity", FIELD(struct conf_service_row, identity),
		.help = "The path of its identity, such as \"shop/web\" in the namespace shop: its "
			"servers must be spiffe://<trust domain>/<identity>, and `from` and "
			"`identities` mean that by its name. service/<name> unless given. No two "
			"services have one."),
	KEY("identities", LIST(struct conf_service_row, identities, identity_count),
		.help = "What its servers may be besides: services' names, paths of our own trust "
			"domain (\"shop/web-old\"), or whole SPIFFE ids."),
	KEY("address", .plural = "addresses", .type = CONF_ADDRESS,
		LIST(struct conf_service_row, addresses, address_count),
		.help = "An address of the service's own, which no machine has: who dials it, at "
			"`port`, gets one of the endpoints that are well. Dialled at its own "
			"address, an endpoint is dialled, whatever its state."),
	KEY("balance", .type = CONF_ENUM, FIELD(struct conf_service_row, balance),
		.fallback = "least_request", .names = conf_balance_names,
		.help = "Which endpoint a call to the service's address gets, of those that are "
			"well: of two drawn by weight the one with less to do (least_request) or "
			"the one that should answer sooner (peak_ewma), the next in turn "
			"(round_robin), any (random), or the one that `balance_by` has on every "
			"machine: by points on a circle (ring_hash), or by a table in which each "
			"endpoint has exactly its share (maglev)."),
	KEY("balance_by", FIELD(struct conf_service_row, balance_by),
		.help = "With ring_hash and maglev, by what: \"source\" (the caller's identity), "
			"\"client\" (its address), \"header:NAME\", \"cookie:NAME\", "
			"\"query:NAME\" (the first value). A call without the value goes by "
			"least_request."),
	KEY("zones", .type = CONF_ENUM, FIELD(struct conf_service_row, zones), .fallback = "ignore",
		.names = conf_zones_names,
		.help = "Endpoints in the caller's zone (node.zone) get its calls as long as they "
			"are well and not overloaded (prefer), no others get them (strict), or "
			"zones do not matter (ignore)."),
	KEY("zone_calls", .type = CONF_NUMBER, FIELD(struct conf_service_row, zone_calls),
		.fallback = "32", .min = 1, .max = 1048576,
		.help = "With \"prefer\": so many calls one machine may have under way at each "
			"endpoint of its zone before other zones get some."),
	KEY("panic", .type = CONF_NUMBER, FIELD(struct conf_service_row, panic_percent),
		.fallback = "0", .max = 100,
		.help = "When less than this percentage of the endpoints is well, calls go to all "
			"of them, since the checks may be what is broken; drained ones aside. 0: "
			"never, as long as one is well."),
	KEY("breaker", .type = CONF_GROUP, .group = &conf_breaker_group,
		.help = "How much one machine may have under way to it at once, whoever of its "
			"workloads calls. What is beyond is refused at once."),
	KEY("retry_budget", .type = CONF_GROUP, .group = &conf_retry_budget_group,
		.help = "How many of one machine's requests to it may be sent again by a route's "
			"`retries`."),
	KEY("slow_start", .type = CONF_DURATION, FIELD(struct conf_service_row, slow_start_ms),
		.fallback = "0s", .max = HOUR,
		.help = "For so long the weight of an endpoint that is new, or up again, grows "
			"from "
			"a tenth to the whole. 0s: it is there at once."),
	KEY("outlier", .type = CONF_GROUP, .group = &conf_outlier_group,
		.help = "When an endpoint gets no calls for a while, because calls to it fail."),
	KEY("endpoints",
		ROWS(struct conf_service_row, endpoints, endpoint_count, &conf_endpoint_group),
		.help = "Where its instances listen, on any machine. With a store, nodes tell of "
			"theirs besides; not of a service whose mtls is \"disabled\"."),
};

static const struct conf_group conf_service_group = {GROUP_OF(conf_service_keys),
	.row_size = sizeof(struct conf_service_row), .keeps_setting = true};
static const struct conf_key conf_node_root_keys[] = {
	KEY("node", .type = CONF_GROUP, .group = &conf_node_group, .help = "This machine."),
	KEY("mesh", .type = CONF_GROUP, .group = &conf_mesh_group,
		.help = "The mesh that it belongs to."),
	KEY("state", .type = CONF_GROUP, .group = &conf_state_group,
		.help = "The store of the mesh's state."),
	KEY("identity", .type = CONF_GROUP, .group = &conf_identity_group,
		.help = "Where certificates come from."),
	KEY("tokens", .type = CONF_GROUP, .group = &conf_tokens_group,
		.help = "The keys that tokens of end users are checked with."),
	KEY("listeners", .type = CONF_GROUP, .group = &conf_listeners_group,
		.help = "Ports of the proxy. They must not meet each other or a workload's."),
	KEY("redirect", .type = CONF_GROUP, .group = &conf_redirect_group,
		.help = "What is captured."),
	KEY("outside", .type = CONF_GROUP, .group = &conf_outside_group,
		.help = "Servers outside of the mesh."),
	KEY("limits", .type = CONF_GROUP, .group = &conf_limits_group, .help = "What is too much."),
	KEY("timeouts", .type = CONF_GROUP, .group = &conf_timeouts_group,
		.help = "What is too long."),
	KEY("workloads", ROWS(struct conf, workloads, workload_count, &conf_workload_group),
		.help = "The processes of this machine that are in the mesh."),
};

static const struct conf_key conf_mesh_root_keys[] = {
	KEY("services", ROWS(struct conf_mesh, services, service_count, &conf_service_group),
		.help = "What can be called, and every service that calls."),
	KEY("policies", ROWS(struct conf_mesh, policies, policy_count, &conf_policy_group),
		.help = "Who may call what. A rule matches when every list that it gives has a "
			"match."),
	KEY("issuers", ROWS(struct conf_mesh, issuers, issuer_count, &conf_issuer_group),
		.help = "Who signs the tokens of end users that policies may ask for."),
	KEY("routes", ROWS(struct conf_mesh, routes, route_count, &conf_route_group),
		.help = "Where calls to a service's own address lead, one route per service."),
	KEY("limits", ROWS(struct conf_mesh, limits, limit_count, &conf_limit_group),
		.help = "How much may be asked of a service. Its own machines count, after policy; "
			"of several limits all must have something left."),
	KEY("rollouts", ROWS(struct conf_mesh, rollouts, rollout_count, &conf_rollout_group),
		.help = "Versions that take over from others step by step, one rollout per "
			"service. `ringmain rollout` writes them."),
	KEY("externals", ROWS(struct conf_mesh, externals, external_count, &conf_external_group),
		.help = "Services outside of the mesh that its workloads may reach."),
};

static const struct conf_group conf_operator_mesh_group = {
	.keys = conf_mesh_keys, .key_count = CONF_MESH_SHARED_KEYS};
static const struct conf_group conf_operator_state_group = {
	.keys = conf_state_keys, .key_count = CONF_STATE_SHARED_KEYS};

static const struct conf_key conf_operator_keys[] = {
	KEY("key", FIELD(struct conf_operator, key),
		.help = "The Ed25519 key that signs what is published: a file that nobody else can "
			"read, made by `ringmain operator new`. Without it nothing can be "
			"published."),
	KEY("name", FIELD(struct conf_operator, name),
		.help = "Who publishes, for the history: at most 63 letters, digits and marks "
			"without space."),
};

static const struct conf_group conf_operator_group = {GROUP_OF(conf_operator_keys)};

static const struct conf_key conf_operator_root_keys[] = {
	KEY("mesh", .type = CONF_GROUP, .group = &conf_operator_mesh_group,
		.help = "The mesh that is spoken of."),
	KEY("state", .type = CONF_GROUP, .group = &conf_operator_state_group,
		.help = "The store of its state."),
	KEY("operator", .type = CONF_GROUP, .group = &conf_operator_group, .help = "Who speaks."),
};

const struct conf_group conf_operator_root = {GROUP_OF(conf_operator_root_keys)};
const struct conf_group conf_node_root = {GROUP_OF(conf_node_root_keys)};
const struct conf_group conf_mesh_root = {GROUP_OF(conf_mesh_root_keys)};

const char *conf_type_text(enum conf_type type)
{
	static const char *const texts[] = {
		[CONF_TEXT] = "a text in quotes",
		[CONF_BOOL] = "true or false",
		[CONF_NUMBER] = "a whole number",
		[CONF_BYTES] = "a size such as \"64K\", or a number of bytes",
		[CONF_DURATION] = "a duration such as \"5s\" or \"200ms\"",
		[CONF_PERCENT] = "a percentage such as 99 or \"99.5\"",
		[CONF_ADDRESS] = "an address such as \"10.0.0.1\"",
		[CONF_ADDRESS_PORT] = "an address with port such as \"127.0.0.1:8080\"",
		[CONF_RANGE] = "an address range such as \"10.0.0.0/8\"",
		[CONF_ENUM] = "one of a few words in quotes",
		[CONF_GROUP] = "a group { ... }",
		[CONF_ROWS] = "a list of groups ( { ... }, { ... } )",
	};
	return texts[type];
}

size_t conf_type_size(enum conf_type type)
{
	static const size_t sizes[] = {
		[CONF_TEXT] = sizeof(struct str),
		[CONF_NUMBER] = sizeof(uint32_t),
		[CONF_ADDRESS] = sizeof(struct address),
		[CONF_ADDRESS_PORT] = sizeof(struct address),
		[CONF_RANGE] = sizeof(struct address_range),
		[CONF_ROWS] = 0,
	};
	return sizes[type];
}
