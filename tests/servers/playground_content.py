"""What stands in the playground: the papers of a small company that builds weather stations."""

from __future__ import annotations

from servers.confluence_model import Confluence
from servers.docs_site import DocsSite
from servers.jira_model import Jira

NOTES = {
    "standup.md": "# Stand-up\n\nMondays at nine, by the window. Who is on call tells of the night first.\n",
    "sensors/rain-gauge.md": "# Rain gauge\n\nThe tipping bucket counts 0.2 mm a tip. Leaves are its worst enemy.\n",
    "sensors/anemometer.md": "# Anemometer\n\nThree cups on a bearing that hates salt. Grease it each spring.\n",
    "ideas.txt": "A station for balconies. A map of all stations. Less cables.\n",
}
"""Files by name."""

REPOSITORY = {
    "README.md": "# Firmware\n\nWhat runs in a station: it reads the sensors each minute and sends a line home.\n",
    "docs/protocol.md": "# Protocol\n\n## Frames\n\nA frame is a length, a type and a checksum (CRC-16).\n\n"
    "## Retries\n\nA station repeats a frame until it is acknowledged, at most for a day.\n",
    "docs/power.md": "# Power\n\nOne panel of 5 W and a cell of 6 Ah last eleven days without sun.\n",
    "docs/changelog.md": "# Changelog\n\n## 2.4\n\nFrost no longer counts as rain.\n",
}
"""Files of the repository's first commit."""

_DEPLOY = """\
<p>A release goes out in three steps. Nobody releases on a Friday.</p>
<ol><li>Merge to <code>main</code>; the pipeline builds and signs the image.</li>
<li>Roll it out to the five stations on the roof.</li><li>After a day, to all others.</li></ol>
<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">bash</ac:parameter>
<ac:plain-text-body><![CDATA[station rollout --ring roof --version 2.4.1]]></ac:plain-text-body></ac:structured-macro>
<ac:structured-macro ac:name="warning"><ac:rich-text-body><p>A rollout that is stopped half way leaves stations
on two versions. Finish it or roll it back.</p></ac:rich-text-body></ac:structured-macro>
<h2>Rings</h2>
<table><tbody><tr><th>Ring</th><th>Stations</th><th>Waits</th></tr>
<tr><td>roof</td><td>5</td><td>none</td></tr><tr><td>valley</td><td>140</td><td>a day</td></tr>
<tr><td>alps</td><td>612</td><td>three days</td></tr></tbody></table>
"""

_INCIDENT = """\
<p>On 14 October 140 stations reported 900 mm of rain in one minute.</p>
<h2>What happened</h2><p>A counter of 16 bits ran over after a reboot; the difference was taken for rain.</p>
<h2>What we do</h2>
<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status>
<ac:task-body>Refuse more than 5 mm a minute at the gateway</ac:task-body></ac:task>
<ac:task><ac:task-id>2</ac:task-id><ac:task-status>incomplete</ac:task-status>
<ac:task-body>Count with 32 bits in firmware 2.5</ac:task-body></ac:task></ac:task-list>
"""


def fill_wiki(model: Confluence) -> None:
    """The engineers' space, and the one of operations."""
    model.add_space("ENG", "Engineering")
    model.add_space("OPS", "Operations")
    home = model.add("ENG", "Engineering", "<p>How we build weather stations, and why they survive winters.</p>")
    deploy = model.add("ENG", "Deploy a release", _DEPLOY, parent=home)
    model.label(deploy, "release", "how-to")
    incident = model.add("ENG", "Incident: 900 mm of rain", _INCIDENT, parent=home)
    model.label(incident, "incident")
    model.comment(incident, "<p>The gateway refuses it since Tuesday.</p>")
    sensors = model.add("ENG", "Sensors", "<p>What a station feels: rain, wind, light, pressure.</p>", parent=home)
    for name, text in (
        ("Barometer", "Calibrate it once a year, at sea level if you can."),
        ("Hygrometer", "Replace the membrane when it reads 103 % on a sunny day."),
        ("Pyranometer", "Clean the dome with water and nothing else."),
    ):
        model.add("ENG", name, f"<p>{text}</p>", parent=sensors)
    model.attach(deploy, "rings.csv", b"ring,stations\nroof,5\nvalley,140\nalps,612\n", "text/csv")
    duty = model.add("OPS", "On call", "<p>The phone goes round on Mondays. It rings for three reasons.</p>")
    model.add("OPS", "A station is silent", "<p>Wait an hour, then look at its battery, then its neighbours.</p>")
    model.add(
        "OPS", "The gateway is full", "<p>Move the oldest month to the archive; never the newest.</p>", parent=duty
    )
    model.add("ENG", "Firmware 2.4 is out", "<p>Frost no longer counts as rain.</p>", type="blogpost")


def fill_intranet(model: Confluence) -> None:
    """What everybody reads."""
    model.add_space("HR", "People")
    home = model.add("HR", "Welcome", "<p>Your first week, your badge, and where the coffee is.</p>")
    model.add("HR", "Holidays", "<p>Thirty days, and the first snow is one more.</p>", parent=home)
    travel = "<p>By train. Up to stations above 2,500 m by cable car, if it runs.</p>"
    model.add("HR", "Travel", travel, parent=home)
    model.add("HR", "Reisekosten", "<p>Belege bis zum Fünften des Monats; Höhenzulage ab 2.500 m.</p>", parent=home)


def fill_tracker(model: Jira) -> None:
    """What the engineers have to do."""
    model.projects |= {"FW": "Firmware", "GW": "Gateway"}
    rain = model.add("FW", "Rain counter runs over after a reboot", "It counts with 16 bits.\n\nSee the incident.")
    model.comment(rain, "Reproduced on the roof with a hair dryer and patience.")
    model.change_status(rain, "In Progress")
    model.add("FW", "Frost counts as rain", "The bucket tips when ice falls off.", labels=["winter"])
    model.add("FW", "Sleep between measurements", "Eleven days without sun are not enough in Tromsø.", labels=["power"])
    slow = model.add(
        "GW", "Gateway refuses frames at midnight", "All stations send at once; spread them over a minute."
    )
    model.comment(slow, "A jitter of 60 s is enough.")
    model.add("GW", "Show stations on a map", "With the last reading, and red where it is older than an hour.")


def fill_helpdesk(model: Jira) -> None:
    """What the customers ask."""
    model.projects["HELP"] = "Help desk"
    model.add("HELP", "My station says 104 % humidity", "h3. Question\n\nIs it raining *inside* of it?")
    wind = model.add("HELP", "No wind since August", "The cups turn, the {{wind}} line stays at 0.")
    model.comment(wind, "Spiders. Please clean the sensor.")
    model.add("HELP", "Can it survive an avalanche?", "* the mast\n* the box\n* the panel")


def fill_site(site: DocsSite) -> None:
    """The public manual."""
    for path, title, text in (
        ("/manual/", "Manual", "All about your weather station.\n\nBegin with the mast."),
        (
            "/manual/mast",
            "The mast",
            "Put it where nothing stands within ten metres.\n\nEarth it before the first storm.",
        ),
        ("/manual/first-reading", "First reading", "Press the button once. A green light means that home was reached."),
        ("/manual/winter", "Winter", "Tilt the panel to 70 degrees, so that snow slides off."),
        ("/manual/lightning", "Lightning", "Replace the arrester after each strike. The box need not be opened."),
        ("/manual/warranty", "Warranty", "Five years, avalanches excluded."),
    ):
        site.write(path, title, text)
