"""The dashboard: its files, and what a person sees of it in a real browser."""
import contextlib
import hashlib
import json
import os

import browser
import harness
from harness import each_request

ADMIN_KEY, STATS_KEY = "sk-of-an-administrator", "sk-of-who-may-see-statistics"


def clients(**keys):
    """CCPROXY_CLIENTS with a key for each right."""
    return json.dumps({right: {"hash": "sha256:" + hashlib.sha256(key.encode()).hexdigest(), "rights": [right]}
                       for right, key in keys.items()})


class Files(harness.TestCase):
    def test_they_are_in_the_program(self):
        proxy = self.proxy()
        for path, file, kind in (("/dashboard", "page.html", "text/html"), ("/dashboard.css", "style.css", "text/css"),
                                 ("/dashboard.js", "script.js", "text/javascript")):
            answer = proxy.get(path, key=None)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.fields["content-type"], f"{kind}; charset=utf-8")
            self.assertEqual(answer.body, (harness.ROOT / "src/obs/dashboard" / file).read_bytes())
            policy = answer.fields["content-security-policy"]
            self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), policy)
            self.assertNotIn("unsafe", policy)
        self.assertEqual(proxy.get("/stats", key=None).fields["content-security-policy"],
                         "default-src 'none'; frame-ancestors 'none'")

    def test_nothing_comes_from_elsewhere(self):
        """No address but the name of SVG, which is never fetched."""
        for path in (harness.ROOT / "src/obs/dashboard").iterdir():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            for way in ("http:", "https:", "@import", "import(", "url("):
                self.assertNotIn(way, text, path)


class Seen(harness.TestCase):
    def browser(self, **kwargs):
        tab = browser.Browser(**kwargs)
        self.addCleanup(tab.close)
        return tab

    def page_of(self, proxy, tab):
        tab.open(f"http://{proxy.address[0]}:{proxy.address[1]}/dashboard")

    def text(self, tab, selector):
        return tab.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def shows(self, tab, selector, words):
        harness.until(lambda: words in (tab.run(
            f"document.querySelector({json.dumps(selector)})?.innerText") or ""), f"{words!r} in {selector}")

    def no_complaints(self, tab):
        self.assertEqual(tab.complaints(), [])

    def picture(self, tab, name):
        """For people: CCPROXY_TEST_PICTURES is where to."""
        folder = os.environ.get("CCPROXY_TEST_PICTURES")
        if folder:
            tab.screenshot(os.path.join(folder, name + ".png"))

    def busy(self, **env):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), **env)
        self.assertEqual(proxy.chat(stream=True).status, 200)
        self.assertEqual(proxy.chat(temperature="warm").status, 400)
        return proxy

    def test_what_happened(self):
        proxy, tab = self.busy(), self.browser()
        self.page_of(proxy, tab)
        self.shows(tab, "#clients tbody", "tester\t2\t50%\t")
        self.shows(tab, "#clients tbody", " ms\t10\t5\t")
        self.shows(tab, "#models tbody", "claude-sonnet-5-5\t1\t")
        self.shows(tab, "#errors tbody", "caller\tinvalid request\t1")
        self.shows(tab, "#recent tbody", "streamed\ttester\tclaude-sonnet-5-5\t10\t5\t")
        self.shows(tab, "#recent tbody", "invalid request\ttester")
        self.assertEqual(self.text(tab, "#state"), "healthy")
        self.assertTrue(tab.run("document.querySelector('#sign-in').hidden"))
        self.assertEqual(proxy.chat().status, 200)
        self.shows(tab, "#clients tbody", "tester\t3\t")  # by itself
        self.picture(tab, "dashboard")
        self.no_complaints(tab)

    def test_charts(self):
        """The first sample after the start makes the first bar."""
        proxy, tab = self.busy(), self.browser()
        self.page_of(proxy, tab)
        tab.until("document.querySelectorAll('.chart').length == 6")
        for colour in ("blue", "faint"):  # one was answered, one was its caller's mistake
            tab.until(f"document.querySelector('.chart').querySelectorAll('rect.{colour}').length == 1")
        self.assertEqual(tab.run("document.querySelector('.chart').querySelectorAll('rect').length"), 2)
        tab.run("document.querySelector('.chart').focus()")
        tab.key("End")
        self.shows(tab, ".legend", "now")
        tab.key("ArrowLeft")
        self.shows(tab, ".legend", "5 s ago")
        self.assertIn("Requests: ", tab.run("document.querySelector('.chart').getAttribute('aria-label')"))
        tab.key("Escape")
        self.shows(tab, ".legend", "latest")
        self.no_complaints(tab)

    def test_signing_in(self):
        """From elsewhere, which a forwarded address is, the page asks for a key."""
        proxy = self.busy(CCPROXY_CLIENTS=clients(admin=ADMIN_KEY, stats=STATS_KEY))
        tab = self.browser()
        tab.call("Network.enable")
        tab.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "192.0.2.7"})
        self.page_of(proxy, tab)
        tab.until("document.activeElement?.id == 'key'")
        self.assertTrue(tab.run("document.querySelector('#page').hidden"))
        self.picture(tab, "sign-in")
        for key, words in (("sk-of-nobody", "not known here"), (harness.KEY, "neither the right admin nor stats")):
            tab.run("document.querySelector('#key').focus()")
            tab.type(key)
            tab.key("Enter", "\r")
            self.shows(tab, "#refusal", words)
        tab.type(STATS_KEY)
        tab.key("Enter", "\r")
        self.shows(tab, "#clients tbody", "tester\t")
        self.shows(tab, "#recent", "keys with the right admin")
        self.assertEqual(tab.run("JSON.stringify(Object.entries(sessionStorage))"),
                         json.dumps([["ccproxy-key", STATS_KEY]], separators=(",", ":")))
        tab.run("document.querySelector('#leave').click()")
        tab.until("!document.querySelector('#sign-in').hidden && sessionStorage.length == 0")
        tab.run("document.querySelector('#key').focus()")
        tab.type(ADMIN_KEY)
        tab.key("Enter", "\r")
        self.shows(tab, "#recent tbody", "streamed\ttester")
        self.no_complaints(tab)

    def test_windows_pause_and_theme(self):
        proxy, tab = self.busy(), self.browser(dark=True)
        self.page_of(proxy, tab)
        self.shows(tab, "#clients tbody", "tester\t2\t")
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = tab.run(ground)
        tab.key("t", "t")
        self.assertNotEqual(tab.run(ground), dark)
        tab.key("p", "p")
        self.assertEqual(tab.run("document.querySelector('#pause').getAttribute('aria-pressed')"), "true")
        self.assertEqual(proxy.chat().status, 200)
        tab.run("new Promise(done => { let n = 0; new PerformanceObserver(list => {"
                " n += list.getEntriesByName(location.origin + '/stats').length; if (n > 1) done(); })"
                ".observe({type: 'resource'}); })")
        self.assertIn("tester\t2\t", self.text(tab, "#clients tbody"))  # it was asked, and not shown
        tab.key("p", "p")
        self.shows(tab, "#clients tbody", "tester\t3\t")
        tab.run("document.querySelector('input[value=total]').click()")
        self.shows(tab, "#clients tbody", "tester\t3\t")
        self.no_complaints(tab)

    def test_names_are_text(self):
        """What clients and upstreams call themselves is never markup."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        with contextlib.closing(proxy.client()) as client:
            client.request("POST", "/v1/chat/completions", {}, fields={"X-Request-Id": "<img/src=x/onerror=boom()>"})
            self.assertEqual(client.response().status, 400)
        tab = self.browser()
        self.page_of(proxy, tab)
        self.shows(tab, "#recent tbody", "<img/src=x/onerror=boom()>")
        self.assertEqual(tab.run("document.querySelectorAll('img').length"), 0)
        self.no_complaints(tab)

    def test_it_fits(self):
        proxy = self.busy()
        for width in (360, 800, 1400):
            tab = self.browser(width=width)
            self.page_of(proxy, tab)
            self.shows(tab, "#clients tbody", "tester")
            self.assertLessEqual(tab.run("document.documentElement.scrollWidth - innerWidth"), 0, width)

    def test_a_server_that_goes(self):
        proxy = harness.Proxy(self.upstream(each_request(lambda call: call.answer())))
        tab = self.browser()
        try:
            self.page_of(proxy, tab)
            self.shows(tab, "#state", "idle")
        finally:
            self.assertEqual(proxy.stop(), 0)
        self.shows(tab, "#state", "offline")
        self.shows(tab, "#notice", "cannot be read")
