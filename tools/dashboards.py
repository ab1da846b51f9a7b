#!/usr/bin/env python3
"""Makes Grafana's dashboards from the tables below.

    dashboards.py DIRECTORY      writes one NAME.json each; in this repository: deploy/grafana/dashboards

An expression is written without what all of them share: every metric is taken of the nodes that are chosen
above the panels, and [_] is the interval that suits the width of the screen.
"""
import json
import pathlib
import re
import sys

CHAT = 'endpoint=~"/chat/completions|/completions"'
TROUBLE = f'type=~"upstream_.*|gateway_.*",{CHAT}'
KINDS = 'type!="reasoning"'  # which is a part of output
WIDTH = 24


# --- words of the tables -------------------------------------------------------------------------

def stat(title, unit, means, expression, warn=None, bad=None):
    """One number: yellow from warn on, red from bad on."""
    return {"type": "stat", "size": (4, 4), "title": title, "unit": unit, "means": means,
            "steps": (warn, bad), "lines": [(expression, "")]}


def graph(title, unit, means, *lines, stacked=False):
    """Lines over time, each an expression and its name."""
    return {"type": "timeseries", "size": (12, 8), "title": title, "unit": unit, "means": means,
            "stacked": stacked, "lines": lines}


def rate(metric, by):
    """A counter's growth a second, by a label."""
    return f"sum by ({by}) (rate({metric}[_]))", f"{{{{{by}}}}}"


def quantile(share, name, matchers="", by=""):
    """A percentile of a histogram, of all that matches or by a label."""
    labels, legend = (f"{by}, le", f"{{{{{by}}}}} p{share}") if by else ("le", f"p{share}")
    return f"histogram_quantile({share / 100}, sum by ({labels}) (rate({name}_bucket{matchers}[_])))", legend


def or_zero(expression):
    """A counter that has never counted has no series."""
    return f"({expression} or vector(0))"


# --- the tables ----------------------------------------------------------------------------------

OVERVIEW = [
    stat("Requests", "reqps", "Of clients, whatever became of them.",
         f"sum(rate(ccproxy_requests_total{{{CHAT}}}[_]))"),
    stat("Failing", "percentunit", "By the upstream or by the gateway. HighErrorRate fires above 10 %.",
         or_zero(f"sum(rate(ccproxy_errors_total{{{TROUBLE}}}[_]))")
         + f" / sum(rate(ccproxy_requests_total{{{CHAT}}}[_]))", 0.02, 0.1),
    stat("First token, p95", "s", "Of streams. SlowFirstToken fires above 10 s.",
         quantile(95, "ccproxy_time_to_first_token_seconds")[0], 5, 10),
    stat("In progress", "short", "Requests at this moment, the scrapes among them.", "sum(ccproxy_active_requests)"),
    stat("Cost of an hour", "currencyUSD", "At the present rate.", "3600 * sum(rate(ccproxy_cost_usd_total[_]))"),
    stat("Nodes", "short", "That are scraped.", "count(ccproxy_build_info)"),
    graph("Answers by status", "reqps", "What clients got.",
          rate(f"ccproxy_requests_total{{{CHAT}}}", "status"), stacked=True),
    graph("Errors by whose fault", "reqps", "Of upstream and gateway: trouble. Of caller and policy: as it should be.",
          ('sum by (fault) (label_replace(rate(ccproxy_errors_total[_]), "fault", "$1", "type", "([a-z]+)_.*"))',
           "{{fault}}"), stacked=True),
    graph("Duration of requests", "s", "From the first byte of a request to the end of its answer.",
          *(quantile(share, "ccproxy_request_duration_seconds", f"{{{CHAT}}}") for share in (50, 95, 99))),
    graph("Time to the first token", "s", "Of streams, from the first byte of the request.",
          *(quantile(share, "ccproxy_time_to_first_token_seconds") for share in (50, 95))),
    graph("Tokens a second", "short", "Input is what was not read from the cache.",
          rate(f"ccproxy_tokens_total{{{KINDS}}}", "type"), stacked=True),
    graph("Added by the gateway", "s", "From a whole request to sending it on.",
          *(quantile(share, "ccproxy_overhead_seconds") for share in (50, 99))),
]

COST = [
    stat("Cost", "currencyUSD", "In the time shown.", "sum(increase(ccproxy_cost_usd_total[$__range]))"),
    stat("Saved by the cache", "currencyUSD", "In the time shown.",
         "sum(increase(ccproxy_cache_saved_usd_total[$__range]))"),
    stat("Read from the cache", "percentunit", "Of all tokens of prompts, in the time shown.",
         'sum(increase(ccproxy_tokens_total{type="cache_read"}[$__range]))'
         ' / sum(increase(ccproxy_tokens_total{type=~"input|cache_.*"}[$__range]))'),
    stat("Tokens of prompts", "short", "In the time shown.",
         'sum(increase(ccproxy_tokens_total{type=~"input|cache_.*"}[$__range]))'),
    stat("Tokens of answers", "short", "In the time shown.",
         'sum(increase(ccproxy_tokens_total{type="output"}[$__range]))'),
    stat("Cost of a request", "currencyUSD", "On average, of those with an answer.",
         'sum(increase(ccproxy_client_cost_usd_total[$__range]))'
         ' / sum(increase(ccproxy_client_requests_total{outcome="success"}[$__range]))'),
    graph("Cost of an hour by client", "currencyUSD", "At the rate of the moment.",
          ("3600 * " + rate("ccproxy_client_cost_usd_total", "client")[0], "{{client}}"), stacked=True),
    graph("Cost of an hour by model", "currencyUSD", "At the rate of the moment.",
          ("3600 * " + rate("ccproxy_cost_usd_total", "model")[0], "{{model}}"), stacked=True),
    graph("Tokens a second by client", "short", "Of prompts and answers.",
          rate(f"ccproxy_client_tokens_total{{{KINDS}}}", "client"), stacked=True),
    graph("Tokens a second by model", "short", "Of prompts and answers.",
          rate(f"ccproxy_tokens_total{{{KINDS}}}", "model"), stacked=True),
    graph("Requests by client", "reqps", "Whatever became of them.",
          rate("ccproxy_client_requests_total", "client"), stacked=True),
    graph("Tokens of a request", "short", "Of its whole prompt, and of its answer.",
          *((quantile(share, f"ccproxy_request_{what}_tokens")[0], f"{what} p{share}")
            for what in ("prompt", "output") for share in (50, 95))),
    graph("Saved by the cache in an hour", "currencyUSD", "By model, at the rate of the moment.",
          ("3600 * " + rate("ccproxy_cache_saved_usd_total", "model")[0], "{{model}}"), stacked=True),
]

LIMITS = [
    stat("Refused by limits", "reqps", "RateLimitSurge fires when one limit refuses more than one a second.",
         or_zero("sum(rate(ccproxy_rate_limit_hits_total[_]))"), 0.2, 1),
    stat("Waiting", "short", "Requests that wait for a free place.", "sum(ccproxy_queued_requests)", 10, 100),
    stat("Wrong credentials", "reqps", "AuthFailures fires above one a second.",
         or_zero('sum(rate(ccproxy_auth_total{result=~"refused|penalized"}[_]))'), 0.2, 1),
    stat("Prompts guessed wrong", "percentunit", "By how much reservations of tokens were off, either way.",
         "sum(rate(ccproxy_prompt_tokens_error_total[_])) / sum(rate(ccproxy_prompt_tokens_expected_total[_]))"),
    stat("Workers without Redis", "short", "Of those that should reach it. RedisLost fires above none.",
         "sum(ccproxy_redis_down_workers)", 1, 1),
    stat("Nearest to its budget", "percentunit", "Of a day or a month. BudgetNearlySpent fires above 75 %.",
         or_zero("max(ccproxy_client_budget_used_ratio)"), 0.75, 0.95),
    graph("Refused, by limit", "reqps", "Which limit of ours it was.",
          rate("ccproxy_rate_limit_hits_total", "limit"), stacked=True),
    graph("Without a whole answer, by client", "reqps", "By limits and by everything else.",
          rate('ccproxy_client_requests_total{outcome="failure"}', "client"), stacked=True),
    graph("In progress and waiting", "short", "Of all nodes; streams are a part of what is in progress.",
          ("sum(ccproxy_active_requests)", "in progress"), ("sum(ccproxy_active_streams)", "streams"),
          ("sum(ccproxy_queued_requests)", "waiting")),
    graph("Wait for a place", "s", "Of requests that waited.",
          *(quantile(share, "ccproxy_queue_wait_seconds") for share in (50, 95))),
    graph("Tokens reserved and taken", "short", "A second, of requests that have ended.",
          ("sum(rate(ccproxy_reserved_tokens_total[_]))", "reserved"),
          ("sum(rate(ccproxy_settled_tokens_total[_]))", "taken")),
    graph("Budgets used", "percentunit", "By client, of the budget nearest its end.",
          ("max by (client) (ccproxy_client_budget_used_ratio)", "{{client}}")),
    graph("Whole answers, p95 by client", "s", "From the first byte of a request to the end of its answer.",
          quantile(95, "ccproxy_client_answer_duration_seconds", by="client")),
    graph("Credentials", "reqps", "What became of them.", rate("ccproxy_auth_total", "result"), stacked=True),
]

UPSTREAM = [
    stat("Calls", "reqps", "Each attempt for itself.", "sum(rate(ccproxy_claude_api_requests_total[_]))"),
    stat("Refused or failed", "percentunit", "429, 5xx, or no answer. UpstreamOverloaded fires above 20 %.",
         or_zero('sum(rate(ccproxy_claude_api_requests_total{status=~"429|5..|none"}[_]))')
         + " / sum(rate(ccproxy_claude_api_requests_total[_]))", 0.05, 0.2),
    stat("Retries", "reqps", "Attempts that were followed by another one.",
         or_zero("sum(rate(ccproxy_upstream_retries_total[_]))")),
    stat("Call, p95", "s", "To the end of the answer.", quantile(95, "ccproxy_upstream_duration_seconds")[0]),
    stat("Gap in streams, p95", "s", "Between two pieces of an answer.",
         quantile(95, "ccproxy_inter_token_latency_seconds")[0], 1, 5),
    stat("Tokens a second, p50", "short", "Of one stream.", quantile(50, "ccproxy_output_tokens_per_second")[0]),
    graph("Calls by status", "reqps", "None: no answer came.",
          rate("ccproxy_claude_api_requests_total", "status"), stacked=True),
    graph("Refused or failed, by model", "reqps", "429, 5xx, or no answer.",
          rate('ccproxy_claude_api_requests_total{status=~"429|5..|none"}', "model"), stacked=True),
    graph("Errors of the upstream that clients saw", "reqps", "What retries did not mend.",
          rate('ccproxy_errors_total{type=~"upstream_.*"}', "type"), stacked=True),
    graph("Retries by reason", "reqps", "What was wrong with the attempt before.",
          rate("ccproxy_upstream_retries_total", "type"), stacked=True),
    graph("Keys put to rest", "reqps", "Refused or told to wait, by their number in the configuration.",
          rate("ccproxy_upstream_key_rests_total", "key"), stacked=True),
    graph("Keys that rest", "short", "Of all nodes: others go before them for a while.",
          ("sum by (key) (1 - ccproxy_upstream_key_up)", "{{key}}")),
    graph("Duration of calls", "s", "From sending a request to the end of its answer.",
          quantile(50, "ccproxy_upstream_duration_seconds", by="model"),
          quantile(95, "ccproxy_upstream_duration_seconds", by="model")),
    graph("Time to the first token", "s", "Of streams, from the first byte of the client's request.",
          quantile(95, "ccproxy_time_to_first_token_seconds", by="model")),
    graph("Gaps in streams", "s", "Between two pieces of an answer.",
          quantile(95, "ccproxy_inter_token_latency_seconds", by="model")),
    graph("Tokens a second of one stream", "short", "From its first piece to its last.",
          quantile(50, "ccproxy_output_tokens_per_second", by="model")),
]

GATEWAY = [
    stat("Added, p99", "s", "From a whole request to sending it on.", quantile(99, "ccproxy_overhead_seconds")[0],
         0.01, 0.1),
    stat("Errors of the gateway", "reqps", "Its log says which and why.",
         or_zero('sum(rate(ccproxy_errors_total{type=~"gateway_.*"}[_]))'), 0.01, 0.1),
    stat("Workers replaced", "short", "Died, in the time shown. WorkersDie fires above two in ten minutes.",
         "sum(increase(ccproxy_worker_restarts_total[$__range]))", 1, 3),
    stat("Log lines dropped", "short", "In the time shown.", "sum(increase(ccproxy_log_dropped_total[$__range]))", 1),
    stat("Reloads refused", "short", "Nodes that run with an older configuration than they were given.",
         "sum(1 - ccproxy_config_last_reload_successful)", bad=1),
    stat("Up for, the youngest", "s", "Since a server was started.", "time() - max(ccproxy_start_time_seconds)"),
    graph("Added by the gateway", "s", "From a whole request to sending it on.",
          *(quantile(share, "ccproxy_overhead_seconds") for share in (50, 95, 99))),
    graph("Connections", "short", "From clients, to Claude in use, to Claude idle.",
          ("sum by (side) (ccproxy_connections)", "{{side}}"), stacked=True),
    graph("Memory of buffers", "bytes", "By node.", ("sum by (instance) (ccproxy_buffered_bytes)", "{{instance}}")),
    graph("Workers", "short", "By node.", ("sum by (instance) (ccproxy_workers)", "{{instance}}")),
    graph("Usage not written yet", "short", "Records of requests that wait for the database.",
          ("sum by (instance) (ccproxy_usage_waiting_records)", "{{instance}}")),
    graph("Clients that left", "reqps", "Before the end of their answers.",
          ("sum(rate(ccproxy_client_cancelled_total[_]))", "left")),
    graph("Certificates end in", "s", "Those that TLS is served with. CertificateExpires fires below a week.",
          ("min by (certificate) (ccproxy_tls_certificate_expiry_timestamp_seconds) - time()", "{{certificate}}")),
    graph("TLS handshakes", "ops", "Of clients, by what became of them.",
          rate("ccproxy_tls_handshakes_total", "result")),
    graph("Glitches", "ops", "HTTP/2 frames that were wrong or unknown.",
          ("sum(rate(ccproxy_http2_glitches_total[_]))", "frames")),
    graph("Requests by protocol", "reqps", "Of everybody, those for operators' pages among them.",
          rate("ccproxy_protocol_requests_total", "protocol"), stacked=True),
    graph("Connections ended", "ops", "For a flood over HTTP/2, or before the first request. Http2Floods fires above 0.1.",
          rate("ccproxy_http2_floods_total", "flood"), rate("ccproxy_connections_rejected_total", "reason")),
    graph("Age of the configuration", "s", "By node; nodes that differ were not reloaded together.",
          ("time() - ccproxy_config_last_reload_success_timestamp_seconds", "{{instance}}")),
    graph("Versions", "short", "Nodes of each.", ("count by (version) (ccproxy_build_info)", "{{version}}"),
          stacked=True),
    graph("Series", "short", "Of each node; labels come from the configuration only.",
          ("ccproxy_metric_series", "{{instance}}")),
]

DASHBOARDS = {
    "overview": ("ccproxy: overview", OVERVIEW),
    "cost": ("ccproxy: tokens and cost", COST),
    "limits": ("ccproxy: limits and credentials", LIMITS),
    "upstream": ("ccproxy: Claude", UPSTREAM),
    "gateway": ("ccproxy: the gateway itself", GATEWAY),
}


# --- what Grafana wants --------------------------------------------------------------------------

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def complete(expression):
    """The expression of the chosen nodes."""
    chosen = re.sub(r'\b(ccproxy_\w+)\{', r'\1{instance=~"$instance",', expression)
    chosen = re.sub(r'\b(ccproxy_\w+)\b(?!\{)', r'\1{instance=~"$instance"}', chosen)
    return chosen.replace("[_]", "[$__rate_interval]")


def places(panels):
    """From left to right, in rows."""
    x = y = height = 0
    for panel in panels:
        w, h = panel["size"]
        if x + w > WIDTH:
            x, y, height = 0, y + height, 0
        yield {"x": x, "y": y, "w": w, "h": h}
        x, height = x + w, max(height, h)


def thresholds(warn=None, bad=None):
    colours = [("green", None), ("yellow", warn), ("red", bad)]
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in colours
                                          if colour == "green" or value is not None]}


def looks(panel):
    if panel["type"] == "stat":
        return ({"unit": panel["unit"], "thresholds": thresholds(*panel["steps"])},
                {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "area"})
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if panel["stacked"] else 8, "showPoints": "never",
              "stacking": {"mode": "normal" if panel["stacked"] else "none", "group": "A"}}
    return ({"unit": panel["unit"], "min": 0, "custom": custom},
            {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}})


def made(number, panel, place):
    defaults, options = looks(panel)
    targets = [{"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": complete(expression),
                "legendFormat": legend} for i, (expression, legend) in enumerate(panel["lines"])]
    return {"id": number, "type": panel["type"], "title": panel["title"], "description": panel["means"],
            "datasource": DATASOURCE, "gridPos": place, "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


VARIABLES = [
    {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"},
    {"name": "instance", "label": "Node", "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1,
     "query": "label_values(ccproxy_build_info, instance)", "multi": True, "includeAll": True, "allValue": ".*",
     "current": {"text": "All", "value": "$__all"}},
]


def dashboard(name, title, panels):
    return {"uid": f"ccproxy-{name}", "title": title, "tags": ["ccproxy"], "schemaVersion": 38, "version": 1,
            "editable": False, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "",
            "templating": {"list": VARIABLES}, "annotations": {"list": []},
            "links": [{"type": "dashboards", "tags": ["ccproxy"], "title": "ccproxy", "asDropdown": False,
                       "keepTime": True, "includeVars": True}],
            "panels": [made(i, panel, place) for i, (panel, place) in enumerate(zip(panels, places(panels)), 1)]}


def main(directory):
    for name, (title, panels) in DASHBOARDS.items():
        text = json.dumps(dashboard(name, title, panels), indent=2) + "\n"
        (pathlib.Path(directory) / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
