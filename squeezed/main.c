/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezed: puts the parts together, and takes them apart at the end. */
#include "common/log.h"
#include "common/units.h"
#include "squeezed/boot_memory.h"
#include "squeezed/broker.h"
#include "squeezed/config.h"
#include "squeezed/loop.h"
#include "squeezed/options.h"
#include "squeezed/pidfile.h"
#include "squeezed/platform/xen.h"
#include "squeezed/ranges.h"
#include "squeezed/server.h"
#include "squeezed/simulation.h"
#include "squeezed/store_requests.h"
#include "squeezed/switch.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Exit statuses. */
enum { EXIT_RUN = 1, EXIT_USAGE = 2 };

struct daemon {
    struct options options;
    struct config config;
    bool config_missing;
    int pidfile;               /* -1: none */
    struct scenario *scenario; /* NULL: a real host */
    struct simulation *simulation;
    struct loop *loop;
    struct platform *platform;
    struct broker *broker;
    struct boot_memory *boot;
    struct server *server;
    struct ranges *ranges;
    int64_t ranges_us;                     /* when they are due */
    struct switch_client *message_switch;  /* NULL: it is not served */
    struct store_requests *store_requests; /* NULL: a simulated host */
    bool failed;                           /* while it ran */
};

/* Where XAPI's broker keeps it, too: gone with the host's next start. */
#define BOOT_MEMORY_FILE "/var/run/nonpersistent/xapi/boot_time_memory"

/* Connections, and what else the daemon has open. */
#define FILES_WANTED (LIMIT_CONNECTIONS + 256)

/* The file, and what the command line says against it. */
static int
load_config(const struct options *options, struct config *ret,
            bool *ret_missing, char *message, size_t size)
{
    if (config_load(options->config, ret, ret_missing, message, size) < 0)
        return -1;
    if (options->socket != NULL) {
        memset(ret->socket, 0, sizeof ret->socket);
        memset(ret->memory_socket, 0, sizeof ret->memory_socket);
        memcpy(ret->socket, options->socket, strlen(options->socket));
        ret->use_switch = SWITCH_NO;
    }
    if (options->has_level)
        ret->log_level = options->level;
    return 0;
}

static void
open_log(const struct config *config)
{
    log_set_level(config->log_level);
    if (!log_open(config->log))
        log_error("can't open the log %s: %s; it stays where it was",
                  config->log, strerror(errno));
}

static struct broker_options
broker_options(struct daemon *daemon);

static struct ranges_options
ranges_options(const struct daemon *daemon)
{
    return (struct ranges_options){
        .folder = daemon->config.domains_dir,
        .default_percent = daemon->config.default_dynamic_min,
    };
}

static void
on_reload(void *context)
{
    struct daemon *daemon = context;
    struct config next;
    char message[512];
    const char *key;
    size_t position = 0;

    if (load_config(&daemon->options, &next, &daemon->config_missing, message,
                    sizeof message) < 0) {
        log_error("%s; the configuration stays as it was", message);
        return;
    }
    while ((key = config_keep_fixed(&daemon->config, &next, &position)) != NULL)
        log_warning("%s: the new %s takes effect after a restart",
                    daemon->options.config, key);
    daemon->config = next;
    open_log(&next);
    struct broker_options options = broker_options(daemon);
    broker_reconfigure(daemon->broker, &options, loop_now_us());
    struct ranges_options ranges = ranges_options(daemon);
    ranges_reload(daemon->ranges, &ranges);
    loop_wake(daemon->loop);
    log_info("read %s anew", daemon->options.config);
    config_log_idle(&next);
}

static void
on_stop(void *context)
{
    struct daemon *daemon = context;

    log_info("told to stop");
    loop_stop(daemon->loop);
}

static void
on_wake(void *context)
{
    struct daemon *daemon = context;

    loop_wake(daemon->loop);
}

static int64_t
monotonic_us(void *context)
{
    (void)context;
    return loop_now_us();
}

static int64_t
wall_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t
wall_ms(void *context)
{
    (void)context;
    return wall_clock_ms();
}

static struct broker_options
broker_options(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    const struct scenario *scenario = daemon->scenario;
    struct broker_options options = {
        .planner = { .host_reserve_kib = config->host_reserve_kib,
                     .cushion_kib = config->cushion_kib,
                     .tolerance_kib = config->tolerance_kib,
                     .policy = config->policy,
                     .interval_us = config->balance_interval_us },
        .reboot_hold_us = config->reboot_hold_us,
        .dry_run = daemon->options.dry_run,
        .wake = on_wake,
        .now_us = monotonic_us,
        .wall_ms = wall_ms,
        .context = daemon,
    };

    /* A simulated host brings its own. */
    if (scenario != NULL) {
        options.planner.host_reserve_kib = scenario->reserve_kib;
        options.planner.cushion_kib = scenario->cushion_kib;
        options.planner.tolerance_kib = scenario->tolerance_kib;
        options.planner.policy = scenario->policy;
    }
    return options;
}

static int64_t
broker_work_next(void *context)
{
    struct daemon *daemon = context;

    return min_i64(broker_next_us(daemon->broker), daemon->ranges_us);
}

static void
broker_work_run(void *context, int64_t now_us)
{
    struct daemon *daemon = context;

    if (broker_next_us(daemon->broker) <= now_us)
        broker_run(daemon->broker, now_us);
    daemon->ranges_us = ranges_run(daemon->ranges, now_us);
}

static bool
make_broker(struct daemon *daemon)
{
    struct broker_options options = broker_options(daemon);

    struct ranges_options ranges = ranges_options(daemon);

    daemon->broker = broker_new(&options, daemon->platform, loop_now_us());
    daemon->ranges =
        daemon->broker == NULL
            ? NULL
            : ranges_new(daemon->broker, daemon->platform, &ranges);
    return daemon->ranges != NULL;
}

/* What is free, being scrubbed, or domain 0's. */
static bool
measure_boot_memory(void *context, uint64_t *ret_bytes)
{
    const struct daemon *daemon = context;
    const struct planner *planner = broker_planner(daemon->broker);
    const struct domain *zero = planner ? host_find(&planner->host, 0) : NULL;

    if (zero == NULL)
        return false;
    *ret_bytes =
        1024 * (planner->host.free_kib + planner->host.scrub_kib +
                zero->facts.actual_kib + (uint64_t)zero->facts.offset_kib);
    return true;
}

static int64_t
boot_work_next(void *context)
{
    struct daemon *daemon = context;

    return boot_memory_next_us(daemon->boot);
}

static void
boot_work_run(void *context, int64_t now_us)
{
    struct daemon *daemon = context;

    boot_memory_run(daemon->boot, now_us);
}

/* A simulated host's is nobody else's business. */
static const char *
boot_memory_path(const struct daemon *daemon)
{
    const char *path = getenv("SQUEEZED_BOOT_MEMORY");

    if (path != NULL)
        return *path == '\0' ? NULL : path;
    return daemon->scenario != NULL || daemon->options.dry_run
               ? NULL
               : BOOT_MEMORY_FILE;
}

static bool
start_boot_memory(struct daemon *daemon)
{
    const struct loop_work work = { daemon, boot_work_next, boot_work_run };
    const struct boot_memory_options options = {
        .path = boot_memory_path(daemon),
        .count = daemon->config.boot_count,
        .interval_us = daemon->config.boot_interval_us,
        .measure = measure_boot_memory,
        .context = daemon,
    };

    daemon->boot = boot_memory_new(&options, loop_now_us());
    if (daemon->boot == NULL)
        return false;
    loop_add_work(daemon->loop, &work);
    return true;
}

static bool
start_server(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    const char *paths[] = { config->socket, config->memory_socket };
    const struct server_options options = {
        .paths = paths,
        .path_count = *config->memory_socket == '\0' ? 1 : 2,
        .group = *config->socket_group == '\0' ? NULL : config->socket_group,
        .platform = daemon->platform,
        .boot = daemon->boot,
        .zero = { .managed = config->manage_domain_zero,
                  .min_kib = config->domain_zero_min_kib,
                  .max_kib = config->domain_zero_max_kib },
        .now_us = loop_now_us,
        .wall_ms = wall_clock_ms,
    };
    char message[512];

    daemon->server = server_new(loop_base(daemon->loop), daemon->broker,
                                &options, message, sizeof message);
    if (daemon->server == NULL)
        log_error("%s", message);
    return daemon->server != NULL;
}

static bool
out_of_memory(void)
{
    log_error("out of memory at start");
    return false;
}

/* By itself it is served only where squeezed is the host's broker: a simulated
 * host, or one that is only watched, has no business with real calls. */
static bool
serves_switch(const struct daemon *daemon)
{
    bool aside = daemon->scenario != NULL || daemon->options.dry_run;

    return daemon->config.use_switch == SWITCH_YES ||
           (daemon->config.use_switch == SWITCH_AUTO && !aside);
}

static bool
start_switch(struct daemon *daemon)
{
    const struct switch_options options = {
        .path = daemon->config.switch_path,
        .wanted = daemon->config.use_switch == SWITCH_YES,
        .rpc = server_rpc(daemon->server),
        .now_us = loop_now_us,
    };

    if (!serves_switch(daemon))
        return true;
    daemon->message_switch = switch_new(loop_base(daemon->loop), &options);
    return daemon->message_switch != NULL || out_of_memory();
}

/* All ways in. */
static bool
start_doors(struct daemon *daemon)
{
    return start_server(daemon) && start_switch(daemon);
}

static void
stop_doors(struct daemon *daemon)
{
    switch_free(daemon->message_switch);
    daemon->message_switch = NULL;
    if (daemon->server != NULL)
        server_free(daemon->server);
    daemon->server = NULL;
}

/* Events wait until the broker has looked and read its ledger: a start in no
 * time at all. */
static bool
is_broker_ready(const struct daemon *daemon)
{
    struct broker_view view;

    broker_view(daemon->broker, &view);
    return view.ready;
}

static int64_t
sim_work_next(void *context)
{
    struct daemon *daemon = context;
    int64_t next = sim_next_us(daemon->platform);

    return is_broker_ready(daemon)
               ? min_i64(next, simulation_next_us(daemon->simulation))
               : next;
}

/* What a kill of the daemon would do, but for the process id. */
static bool
restart_broker(struct daemon *daemon)
{
    broker_free(daemon->broker);
    ranges_free(daemon->ranges);
    daemon->broker = NULL;
    daemon->ranges = NULL;
    stop_doors(daemon);
    boot_memory_forget(daemon->boot, NULL);
    sim_settle_store(daemon->platform, false);
    if (!make_broker(daemon) || !start_doors(daemon))
        return false;
    simulation_restarted(daemon->simulation, daemon->broker, loop_now_us());
    log_info("the broker was restarted");
    return true;
}

/* Nothing of this is worth going on for. */
static void
abandon(struct daemon *daemon)
{
    log_error("the broker could not be started again");
    daemon->failed = true;
    loop_stop(daemon->loop);
}

static void
sim_work_run(void *context, int64_t now_us)
{
    struct daemon *daemon = context;

    sim_advance(daemon->platform, now_us);
    sim_deliver(daemon->platform);
    if (is_broker_ready(daemon))
        simulation_step(daemon->simulation, now_us);
    if (simulation_wants_restart(daemon->simulation) && !restart_broker(daemon))
        abandon(daemon);
}

static int64_t
sim_now_us(void *context)
{
    (void)context;
    return loop_now_us();
}

static void
on_note(void *context, int64_t now_us, bool trouble, const char *text)
{
    (void)context, (void)now_us;
    log_at(trouble ? LEVEL_WARNING : LEVEL_INFO, "simulation: %s", text);
}

static bool
start_sim(struct daemon *daemon)
{
    daemon->platform = sim_platform_new(daemon->scenario, loop_now_us());
    if (daemon->platform == NULL)
        return false;
    sim_set_wake(daemon->platform, on_wake, daemon);
    return true;
}

static bool
start_simulation(struct daemon *daemon)
{
    const struct loop_work work = { daemon, sim_work_next, sim_work_run };
    const struct simulation_options options = { .context = daemon,
                                                .now_us = sim_now_us,
                                                .note = on_note,
                                                .wake = on_wake };

    if (daemon->scenario == NULL)
        return true;
    daemon->simulation =
        simulation_new(daemon->scenario, daemon->platform, daemon->broker,
                       &options, loop_now_us());
    if (daemon->simulation == NULL)
        return false;
    loop_add_work(daemon->loop, &work);
    return true;
}

static bool
start_xen(struct daemon *daemon)
{
    static const enum xen_balloon rules[] = {
        [BALLOON_AUTO] = XEN_BALLOON_AUTO,
        [BALLOON_FEATURE] = XEN_BALLOON_FEATURE,
        [BALLOON_ALWAYS] = XEN_BALLOON_ALWAYS,
    };
    const char *xenstore = daemon->config.xenstore;
    const struct xen_options options = {
        .xenstore = *xenstore == '\0' ? NULL : xenstore,
        .balloon = rules[daemon->config.balloon],
        .read_only = daemon->options.dry_run,
        .manage_zero = daemon->config.manage_domain_zero,
        .zero_min_kib = daemon->config.domain_zero_min_kib,
        .zero_max_kib = daemon->config.domain_zero_max_kib,
    };

    static_assert(CONFIG_AUTO_KIB == XEN_ZERO_AUTO, "both say auto");

    daemon->platform = xen_platform_new(loop_base(daemon->loop), &options);
    return daemon->platform != NULL;
}

/* A simulated host has no xenstore. */
static bool
start_store_requests(struct daemon *daemon)
{
    const char *xenstore = daemon->config.xenstore;
    struct store_requests_options options = { .now_us = loop_now_us };
    char path[CONFIG_SOCKET_CHARS];

    if (daemon->scenario != NULL)
        return true;
    options.path = path;
    options.fallback =
        xen_find_socket(*xenstore == '\0' ? NULL : xenstore, path, sizeof path);
    daemon->store_requests =
        store_requests_new(loop_base(daemon->loop), daemon->broker, &options);
    return daemon->store_requests != NULL;
}

static bool
start_platform(struct daemon *daemon)
{
    return daemon->scenario != NULL ? start_sim(daemon) : start_xen(daemon);
}

/* Without it, a full house of connections would leave none for xenstore. */
static void
raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_WANTED)
        return;
    limit.rlim_cur = FILES_WANTED;
    if (limit.rlim_max < FILES_WANTED)
        limit.rlim_max = FILES_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("can't raise the limit of open files to %d: %s",
                    FILES_WANTED, strerror(errno));
}

static bool
make_pidfile(struct daemon *daemon)
{
    char message[1200];

    if (*daemon->config.pidfile == '\0')
        return true;
    daemon->pidfile =
        pidfile_make(daemon->config.pidfile, message, sizeof message);
    if (daemon->pidfile < 0)
        log_error("%s", message);
    return daemon->pidfile >= 0;
}

static bool
start(struct daemon *daemon)
{
    const struct loop_work broker_work = { daemon, broker_work_next,
                                           broker_work_run };

    daemon->loop = loop_new();
    if (daemon->loop == NULL)
        return out_of_memory();
    if (!loop_add_signal(daemon->loop, SIGTERM, on_stop, daemon) ||
        !loop_add_signal(daemon->loop, SIGINT, on_stop, daemon) ||
        !loop_add_signal(daemon->loop, SIGHUP, on_reload, daemon))
        return out_of_memory();
    if (!make_pidfile(daemon))
        return false;
    if (!start_platform(daemon) || !make_broker(daemon) ||
        !start_simulation(daemon) || !start_store_requests(daemon) ||
        !start_boot_memory(daemon))
        return out_of_memory();
    loop_add_work(daemon->loop, &broker_work);
    return start_doors(daemon);
}

/* Also what start() began and did not finish. */
static void
stop(struct daemon *daemon)
{
    if (daemon->broker != NULL)
        broker_free(daemon->broker);
    stop_doors(daemon);
    ranges_free(daemon->ranges);
    store_requests_free(daemon->store_requests);
    boot_memory_free(daemon->boot);
    if (daemon->simulation != NULL)
        simulation_free(daemon->simulation);
    if (daemon->platform != NULL)
        daemon->platform->ops->free(daemon->platform);
    loop_free(daemon->loop);
    if (daemon->pidfile >= 0)
        pidfile_remove(daemon->config.pidfile, daemon->pidfile);
    scenario_free(daemon->scenario);
}

static void
say_hello(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    bool both = *config->memory_socket != '\0';

    log_info(PACKAGE_STRING " on %s, policy %s; listening on %s%s%s",
             daemon->platform->ops->name,
             broker_options(daemon).planner.policy->name, config->socket,
             both ? " and " : "", config->memory_socket);
    if (daemon->config_missing)
        log_info("there is no %s: all keys are at their defaults",
                 daemon->options.config);
    if (daemon->options.dry_run)
        log_warning("dry run: no target and no limit will be set");
    config_log_idle(config);
}

static int
run(struct daemon *daemon)
{
    bool good;

    open_log(&daemon->config);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    good = start(daemon);
    if (good) {
        say_hello(daemon);
        good = loop_run(daemon->loop);
        if (!good)
            log_error("the event loop broke");
        good = good && !daemon->failed;
    }
    stop(daemon);
    return good ? EXIT_SUCCESS : EXIT_RUN;
}

/* Both files; what is wrong goes to standard error. */
static bool
read_files(struct daemon *daemon)
{
    const struct options *options = &daemon->options;
    char message[512];
    bool good = load_config(options, &daemon->config, &daemon->config_missing,
                            message, sizeof message) == 0;

    if (good && options->scenario != NULL) {
        daemon->scenario =
            scenario_read(options->scenario, NULL, message, sizeof message);
        good = daemon->scenario != NULL;
    }
    if (!good)
        fprintf(stderr, "%s\n", message);
    return good;
}

static int
print_about(const struct options *options)
{
    if (options->help)
        options_print_help(stdout);
    else
        puts(PACKAGE_STRING);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_RUN;
}

/* Where read_files() found nothing wrong. */
static int
print_checked(struct daemon *daemon)
{
    printf("%s: %s\n", daemon->options.config,
           daemon->config_missing ? "not there, which is fine" : "fine");
    scenario_free(daemon->scenario);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_RUN;
}

int
main(int argc, char *argv[])
{
    struct daemon daemon = { .pidfile = -1 };

    if (!options_parse(argc, argv, &daemon.options))
        return EXIT_USAGE;
    if (daemon.options.help || daemon.options.version)
        return print_about(&daemon.options);
    if (!read_files(&daemon))
        return EXIT_USAGE;
    if (daemon.options.check_config)
        return print_checked(&daemon);
    return run(&daemon);
}
