/* sim_control.h - the endpoints for tests, served with options.control.
 *
 *   POST, DELETE /_sim/script     queue answers (sim_script.h), or drop what is queued
 *   GET, DELETE /_sim/requests    what has been received: [{"method","path","headers":{...},"body",
 *                                 "connection_id","client_closed_early","bytes_sent"},...]; a body
 *                                 that is no JSON stands in "body_base64"
 *   GET /_sim/state               {"open","served","aborted","connections"}
 */
#ifndef CCPROXY_SIM_SIM_CONTROL_H
#define CCPROXY_SIM_SIM_CONTROL_H

#include "sim/sim_call.h"

endpoint_fn control_post_script, control_delete_script;
endpoint_fn control_get_requests, control_delete_requests;
endpoint_fn control_get_state;

#endif
