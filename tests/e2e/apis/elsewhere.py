"""Ways to make a gateway ask somebody else than the connection's own address: what a client can write, and where.

`HOSTS` are names of a decoy that listens on loopback, of metadata services, and spellings that only some readers take for
them. `{port}` is the decoy's port.
"""

from __future__ import annotations

LOOPBACK = (
    "127.0.0.1", "localhost", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "017700000001", "0",
    "0.0.0.0", "127.0.0.1.", "127.000.000.001", "127.0.0.1%00", "127.0.0.1%2f", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::1%25lo]", "[::1%lo]", "[fe80::1%25lo]", "[::1", "::1", "localhost.", "LOCALHOST",
    "localhost.localdomain", "ip6-localhost", "127.0.0.1.nip.io", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1", "ⓛocalhost", "xn--localhost-",
    "lo\u00adcalhost", "127.0.0.1:80", "127.0.0.2", "127.255.255.254", "4294967297",
)
METADATA = (
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776",
    "169.254.43518", "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "169.254.169.254.nip.io",
    "169。254。169。254", "①⑥⑨.②⑤④.①⑥⑨.②⑤④", "metadata.google.internal", "metadata", "instance-data", "100.100.100.200", "168.63.129.16",
    "169.254.170.2", "169.254.169.254%20", "0.0.0.0.169.254.169.254", "425.510.425.510", "[0:0:0:0:0:ffff:169.254.169.254]",
)
PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.0.1", "[fc00::1]", "[fe80::1]", "kubernetes.default.svc", "host.docker.internal", "consul")
HOSTS = (*LOOPBACK, *METADATA, *PRIVATE)
CONFUSED = (
    "crm.example@{host}", "crm.example:80@{host}", "crm.example%40{host}", "{host}@crm.example", "user:pass@crm.example", "crm.example#{host}",
    "crm.example/{host}", "crm.example?{host}", "crm.example\\{host}", "crm.example\\@{host}", "crm.example {host}", "crm.example,{host}",
    "crm.example;{host}", "crm.example\t{host}", "crm.example%00{host}", "crm.example%0d%0aHost:{host}", "crm.example.{host}", "{host}.crm.example",
    "crm.example.", "crm。example", "crm.example:", "crm.example:0x50", "crm.example:65536", "crm.example:-1", "crm.example:80:80", "[crm.example]",
    "crm.exampl\u212f", "crm.example\u200b", "\uff43rm.example", "crm..example", ".crm.example", "crm_example", "-", "*", "*.example", "", ":80",
)
"""A name that is a connection's, and one that is not, in one field."""
SCHEMES = ("gopher", "file", "ftp", "dict", "ldap", "ws", "wss", "https", "jar", "netdoc", "data", "javascript", "unix", "php", "h2c", "HTTPX")
TARGETS = (
    "//{host}/x", "///{host}/x", "/\\{host}/x", "\\\\{host}\\x", "http:/{host}/x", "http:{host}/x", "http:///{host}/x", "http://{host}", "http:\\\\{host}\\x",
    "{host}/x", "@{host}/x", ":{port}/x", "?http://{host}/x", "#/x", "http://", "http://:{port}/", "http:// {host}/", "http://crm.example@{host}/x",
    "http://crm.example:{port}@{host}/x", "http://{host}#crm.example/", "http://{host}\\@crm.example/", "http://crm.example%2f@{host}/",
    "/../x", "/a/../../x", "/./x", "/%2e%2e/x", "/.%2e/x", "/..%2fx", "/..;/x", "/a/..;b/x", "/%252e%252e/x", "/a%5c..%5cx", "/..%c0%afx", "/%u002e%u002e/x",
    "/a//x", "/x%00", "/x%0d%0aHost:%20{host}", "/x%", "/x%zz",
)
HARMLESS = ("/x?url=http://{host}/", "/@{host}/x", "/x;http:?u=//{host}", "/http:", "/x?u=%0d%0aHost:{host}", "/proxy/{host}")
"""Targets that go on: what a backend makes of them is its own affair."""
FIELDS = (
    "X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "Forwarded",
    "X-Host", "X-Original-Host", "X-Original-URL", "X-Rewrite-URL", "X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Cluster-Client-IP",
)
"""Fields that say where a request was for, or from: none of them goes on."""
REDIRECTS = (301, 302, 303, 307, 308, 300, 305, 306)
