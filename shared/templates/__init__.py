"""Message templates: Liquid with YAML front matter. The language checks what dispatch renders.

    templates/<name>/<channel>[.<locale>].liquid

Front matter between two `---` lines carries the parts (`subject: …`), each a Liquid text of its
own; the body is what follows: HTML and escaped for email, plain text elsewhere. Unknown names
render empty; rendering is bounded and shut in (see `sandbox`).
"""

from shared.templates.problems import (
    RuleBroken,
    TemplateFailed,
    TemplateInvalid,
    TemplateProblem,
)
from shared.templates.template import (
    Rendered,
    Template,
    TemplateName,
    Variable,
    choose,
    key,
    parse_template,
    render,
    template_name,
)

__all__ = [
    "Rendered",
    "RuleBroken",
    "Template",
    "TemplateFailed",
    "TemplateInvalid",
    "TemplateName",
    "TemplateProblem",
    "Variable",
    "choose",
    "key",
    "parse_template",
    "render",
    "template_name",
]
