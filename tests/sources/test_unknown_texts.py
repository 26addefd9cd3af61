"""What a source cannot read yet is told once, and its text is kept."""

from __future__ import annotations

from support.atlassian_sites import run_confluence, run_jira


def test_a_node_that_is_not_known_is_named_once_and_its_text_found(tmp_path):
    def page(word):
        text = {"type": "text", "text": f"the {word} lamp"}
        node = {"type": "hologram", "content": [{"type": "paragraph", "content": [text]}]}
        return {"type": "doc", "version": 1, "content": [node, node]}

    with run_jira("cloud") as site:
        site.model.add("ENG", "One", page("green"))
        site.model.add("ENG", "Two", page("yellow"))
        workspace = site.workspace(tmp_path)
        result = workspace.plan()
        assert result.notes == ("wiki: only the text was kept of what qloader cannot read yet: hologram",)
        assert result.plan.header.warnings == ()
        workspace.apply(result)
        assert "green lamp" in workspace.search("green")[0].payload["text"]
        assert workspace.plan().notes == ()  # nothing had to be read


def test_a_macro_that_is_not_known_is_named_once_and_its_text_found(tmp_path):
    begin, end = (
        '<ac:structured-macro ac:name="teleporter"><ac:rich-text-body><p>',
        "</p></ac:rich-text-body></ac:structured-macro>",
    )
    with run_confluence("data_center") as site:
        site.model.add_space("ENG")
        site.model.add("ENG", "One", f"{begin}beam the lamp{end}")
        site.model.add("ENG", "Two", f"{begin}beam the garden{end}")
        workspace = site.workspace(tmp_path)
        result = workspace.plan()
        assert len(result.notes) == 1
        assert "teleporter" in result.notes[0]
        workspace.apply(result)
        assert "garden" in workspace.search("garden")[0].payload["text"]
