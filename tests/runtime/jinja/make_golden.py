#!/usr/bin/env python3
"""Writes golden.jsonl: templates of our own, in the manner of the common families, and what Python's Jinja2 makes of them.

The environment is the one that Hugging Face's apply_chat_template sets up. Run it again when a case is added:
    python3 tests/runtime/jinja/make_golden.py > tests/runtime/jinja/golden.jsonl
"""
import json
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        parser.stream.expect("name:generation")
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
environment.filters["tojson"] = lambda x, ensure_ascii=False, indent=None: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent)
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: __import__("datetime").datetime.fromtimestamp(
    1700000000, __import__("datetime").timezone.utc).strftime(format)

TALK = [
    {"role": "system", "content": " Be  brief. "},
    {"role": "user", "content": "Hallo\n<|im_end|> Wörld 😀"},
    {"role": "assistant", "content": "Yes.\n"},
    {"role": "user", "content": "And 'then' \"what\"?"},
]
CHATS = {
    "talk": TALK,
    "no_system": TALK[1:2],
    "thought": TALK[1:2] + [{"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is so."}, TALK[3]],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}],
    "wrong_order": [TALK[2], TALK[1]],
}

FAMILIES = {
    "chatml": """{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
<|im_start|>system
You are a helpful program.<|im_end|>
{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "instruct": """{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.index0 == 0 and system is defined %}
            {{- '[INST] <<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ message['content'] | trim ~ ' [/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'].strip() + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] | trim + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}
""",
    "headers": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0].role == 'system' %}
    {%- set system_message = messages[0].content|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "thinking": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
        {%- for part in message.content %}{%- set content = content + part.text %}{%- endfor %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "blocks": """{%- macro block(role, text='', end='<|end|>') -%}
<|{{ role }}|>
{{ text }}{{ end }}
{% endmacro -%}
{% for m in messages if m.role in ['user', 'assistant'] %}
{% generation %}{{ block(m.role, m.content | string | trim) }}{% endgeneration %}
{% else %}
nothing
{% endfor %}
{{- block('system', end='.') -}}
{# a comment -#}
   {% if add_generation_prompt %}<|assistant|>
{% endif %}
""",
}

VALUES = {"n": 7, "neg": -7, "f": 2.5, "t": True, "z": None, "s": "  Hello, Wörld  ", "l": [3, 1, 2], "w": "a,b,,c",
          "d": {"b": 1, "a": {"x": [1, "two", None, True, 1.5]}},
          "m": [{"role": "user", "n": 2}, {"role": "tool", "n": 1}, {"role": "user"}], "q": "it's \"so\"\n\t\\ é"}

SMALL = r"""
{{ n + 1 }} {{ n - 10 }} {{ n * f }} {{ n / 2 }} {{ n // 2 }} {{ neg // 2 }} {{ neg % 3 }} {{ n % -3 }} {{ 2 ** 10 }} {{ -n }} {{ f // 1 }}
{{ (1 + 2 * 3) ~ 'x' ~ 4 }}|{{ 1 + 2 ~ '' if false else 1e2 }}|{{ 'a' 'b' }}|{{ 'a' * 3 }}|{{ "q\"\n\u00e9\x41" }}|{{ -2 | abs }}|{{ 1.0 }}|{{ 1e3 if false else 1000.0 }}|{{ 0.00001 }}|{{ 12345678901234567.0 }}
{{ n == 7.0 }} {{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ not n }} {{ n and z }} {{ z or 'x' }} {{ 1 == true }} {{ 'a' in 'cat' }} {{ 3 in l }} {{ 'b' in d }} {{ 9 not in l }}
{{ s | trim }}|{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xyaxy'.rstrip('yx') }}|{{ 'a-a' | trim('a') }}
{{ w.split(',') }}|{{ w.split(',', 1) }}|{{ ' a  b c '.split() }}|{{ ' a  b c '.split(None, 1) }}|{{ w.split(',')[-1] }}
{{ s | upper }}{{ s | lower }}{{ 'éa bc' | title }}{{ 'éa BC' | capitalize }}{{ "they're so-so" | title }}{{ "they're so".title() }}
{{ l }} {{ d }} {{ m }} {{ (1, 'a')[1] }} {{ [] }} {{ {} }} {{ q }} {{ [q] }} {{ z }} {{ t }} {{ f }} {{ [none, true, 'x', "it's"] }}
{{ d | tojson }}|{{ d | tojson(indent=2) }}|{{ q | tojson }}|{{ [] | tojson(indent=4) }}|{{ l | tojson(indent=1) }}|{{ {'a': []} | tojson(indent=2) }}
{{ l | length }} {{ s | length }} {{ d | count }} {{ undefined_name | length }} {{ l | first }} {{ l | last }} {{ 'Wö' | list }} {{ l | sum }} {{ l | max }} {{ l | min }}
{{ l | join('-') }} {{ m | map(attribute='role') | join(', ') }} {{ m | map(attribute='n', default=0) | list }} {{ ['a', 'b'] | map('upper') | list }} {{ m | join('+', attribute='role') }} {{ 'abc' | join('.') }}
{{ m | selectattr('role', 'equalto', 'user') | list | length }} {{ m | selectattr('n') | list | length }} {{ m | rejectattr('n', 'defined') | list }} {{ [1, 0, 2] | select | list }} {{ [1, 2, 3] | reject('odd') | list }} {{ l | select('gt', 1) | list }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ ['b', 'A', 'c'] | sort }} {{ m[:2] | sort(attribute='n') | map(attribute='role') | list }} {{ ['a', 'A', 'b'] | unique | list }} {{ d | dictsort | map('first') | list }} {{ d | items | list | first | join('=') }}
{{ l | reverse | list }} {{ 'abc' | reverse }} {{ 'aXbX' | replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ '3' | int + 1 }} {{ 'x' | int(5) }} {{ '2.5' | float }} {{ 2.9 | int }} {{ 5 | string ~ 'a' }} {{ 'x' | safe }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(1, blank=true) }}
{{ nope | default('d') }} {{ z | default('d') }} {{ z | default('d', true) }} {{ '' | d('e', boolean=true) }} {{ nope }}|{{ d.nope }}|{{ d['a'].x[1] }}|{{ d.a['x'][-2] }}|{{ l[9] is defined }}
{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ n is number }} {{ f is float }} {{ n is integer }} {{ t is integer }} {{ t is boolean }} {{ s is string }} {{ l is sequence }} {{ d is mapping }} {{ l is iterable }} {{ n is iterable }} {{ z is none }} {{ z is not none }} {{ nope is undefined }} {{ n is defined and n > 3 }} {{ 'A' is upper }} {{ 'a' is lower }} {{ n is eq 7 }} {{ n is in [7] }} {{ t is true }} {{ t is sameas true }} {{ n is not string }} {{ l is mapping }} {{ range is callable }}
{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ 'Wörld'[1:3] }} {{ 'Wörld'[::-1] }} {{ s[2:7] }} {{ l[5:] }} {{ 'Wö'[1] }} {{ l[-9:2] }}
{{ range(4) | list }} {{ range(2, 9, 3) | list }} {{ range(3, 0, -1) | list }} {{ dict(a=1, b='x') }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 3) }} {{ d.keys() | list }} {{ d.values() | list | length }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem is defined }}{{ loop.nextitem | default('-') }} {% endfor %}
{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %} {% for i in [] %}x{% else %}empty{% endfor %} {% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}{% for i in range(6) if i % 2 %}{{ loop.index }}:{{ i }} {% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }} {% set ns = namespace(c=0) %}{% for i in [1, 2] %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }} {% set a, b = 1, 2 %}{{ a }}{{ b }} {% if true %}{% set y = 5 %}{% endif %}{{ y }} {% set text %}a{{ n }}b{% endset %}{{ text | upper }}
{% macro f(a, b=2) %}{{ a }}{{ b }}{{ x is defined }}{% endmacro %}{{ f(1) }} {{ f(1, b=3) }} {{ f(b=1, a=0) }} {% macro g(k) %}{% if k > 0 %}{{ k }}{{ g(k - 1) }}{% endif %}{% endmacro %}{{ g(3) | trim | length }} {{ f() }}
{{ 'yes' if n > 3 else 'no' }} {{ 'yes' if n > 30 }}| {{ 'a' if z else 'b' if n == 7 else 'c' }} {% if z %}1{% elif n %}2{% else %}3{% endif %} {% if not z and n %}x{% endif %}
{{ 'user'.startswith('us') }} {{ 'user'.endswith(('x', 'er')) }} {{ 'banana'.count('an') }} {{ 'Wörld'.find('r') }} {{ 'x'.find('y') }} {{ '-'.join(['a', 'b']) }} {{ 'ABC'.lower() }} {{ 'abc'.upper() }} {{ 'aBC dE'.capitalize() }}
{{ strftime_now('%Y-%m-%d %H:%M') }} {{ "a" ~ 1 ~ none ~ true }} {{ [1] + [2] }} {{ 'a' == "a" }} {{ {'a': 1} == {'a': 1.0} }} {{ [1, 2] == [1, 2] }} {{ [1] != [2] }} {{ none == undefined_name }}
"""
SPACES = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a {%- if true -%} b {%- endif -%} c",
    "  {{ 'x' }}  \n  {{- 'y' -}}  \nz",
    "{% if true +%}\nx{% endif %}\n  {%+ if true %}y{% endif %}",
    "a\n  {# c #}\n  b {# d -#}\n  e {#- f #} g",
    "x{% set a = 1 %}\n\ny\n\n",
    "a\r\n{% if true %}\r\nb\r{% endif %}c\n",
    "{{ {'a': {'b': 1}}['a']['b'] }}{{ '}}' }}{% if '%}' %}!{% endif %}",
    "  {% for i in [1,2] %}  {{ i }}\n  {% endfor %}  end",
    "{%- for i in [1,2] -%}\n {{ i }} \n{%- endfor %}",
    "a {{ 'é' }} { % { # }} %} b", "", "\n", "\n\n", "{{ '' }}\n",
]
ERRORS = ["{{ raise_exception('no') }}", "{{ nope.x }}", "{{ nope['x'] }}", "{{ nope + 1 }}", "{{ 1 / 0 }}", "{{ 1 + 'a' }}", "{{ none + 1 }}",
          "{% for x in 5 %}{% endfor %}", "{{ 'a' < 1 }}", "{{ n() }}", "{{ z.strip() }}", "{% set n.x = 1 %}", "{% for a, b in [[1]] %}{% endfor %}",
          "{{ 1 in 5 }}", "{% if %}{% endif %}", "{{ 'a }}", "{{ (1 }}", "{% for x in l %}", "{% endif %}", "{{ l | }}", "{% if true %}{% endfor %}", "{{ 1 2 }}",
          "{{ d.a.x.y.z }}", "{{ 5 | length }}", "{# x", "{{ x", "{{ [1 }}", "{{ 'x'.nope() }}", "{{ range(1000000) | list | length }}"]


def case(name, template, data, own):
    out = {"name": name, "template": template, "data": data, "own": own}
    try:
        out["text"] = environment.from_string(template).render(**data, **own)
    except Exception:
        out["fails"] = True
    print(json.dumps(out, ensure_ascii=False))


OWN = {"bos_token": "<s>", "eos_token": "</s>"}
for name, template in FAMILIES.items():
    for chat, messages in CHATS.items():
        for prompt in (True, False):
            case(f"{name}/{chat}", template, {"messages": messages, "add_generation_prompt": prompt}, OWN)
case("thinking/off", FAMILIES["thinking"], {"messages": TALK, "add_generation_prompt": True, "enable_thinking": False}, OWN)
for number, line in enumerate(SMALL.strip().split("\n")):
    case(f"small/{number}", line, VALUES, {})
for number, template in enumerate(SPACES):
    case(f"spaces/{number}", template, VALUES, {})
for number, template in enumerate(ERRORS):
    case(f"error/{number}", template, VALUES, {})
print(jinja2.__version__, file=sys.stderr)
