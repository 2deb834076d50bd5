"""Small templates, each about one rule of the language."""
import itertools

INPUT = {
    "messages": [{"role": "user", "content": "Hi <|im_end|>"},
                 {"role": "assistant", "content": "yö", "n": 3}],
    "tools": None, "add_generation_prompt": True,
    "bos_token": "<s>", "eos_token": "</s>",
    "extra": {"d": {"b": 1, "a": [1, 2.5, None, True], "items": "x",
                    "s": "it's"},
              "l": [3, 1, 2], "s": "Hello wörld 日本", "e": "", "z": 0,
              "n": -7, "f": 2.5, "t": True, "none": None,
              "words": ["b", "A", "c", "a"],
              "mixed": [1, "1", 1.0, True, None, [], {}],
              "people": [{"name": "Bo", "age": 30}, {"name": "al", "age": 4},
                         {"name": "Cy"}],
              "text": "  line one\n\nline two\r\n\tthree  "},
}

STATEMENTS = r"""
a{% if t %}b{% endif %}c
{% if e %}1{% elif z %}2{% else %}3{% endif %}
{%- if t -%}  x  {%- endif -%}
  {%- for i in l -%} {{ i }} {%- endfor -%}  
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for i in l %}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}
{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}
{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in missing %}x{% else %}empty{% endfor %}
{% for i in none %}x{% endfor %}
{% for i in 3 %}x{% endfor %}
{% for c in s %}{{ c }}.{% endfor %}
{% for k in d %}{{ k }},{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d|dictsort %}{{ k }};{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for i in l if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }};{% endfor %}
{% for i in l if i > 9 %}x{% else %}none{% endfor %}
{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in l %}{% for j in l %}{{ loop.depth }}{{ i * j }} {% endfor %}{{ loop.index }}{% endfor %}
{% for i in l recursive %}{{ i }}{% endfor %}x{% for i in 5 %}{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}
{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}
{% set ns = namespace({'x': 1}, y=2) %}{{ ns.x }}{{ ns.y }}{{ ns.q }}{{ ns['x'] }}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d.x = 1 %}
{% set q.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = 1 %}
{% set a = 1, 2 %}{{ a }}
{% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x|length }}
{% set x | upper | trim %} a{{ 1 }}b {% endset %}[{{ x }}]
{% set x %}{% set y = 1 %}{% endset %}{{ y }}
{% set x = y = 1 %}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}
{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c=9) }}|{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{{ 1 }}{% endcall %}
{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}in{% endcall %}
{% macro m() %}{{ caller }}{% endmacro %}{{ m() }}
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro m() %}{% set x = 5 %}{% endmacro %}{{ m() }}{{ x }}
{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{{ m }}{% macro m() %}x{% endmacro %}{{ m() ~ m() }}{{ m()|upper }}
{% filter upper %}a{{ 'b' }}{% endfilter %}
{% filter replace('a', 'b') | upper %}banana{% endfilter %}
{% filter upper %}{% set x = 1 %}{% endfilter %}{{ x }}
{% generation %}a{{ 1 }}{% set x = 3 %}{% endgeneration %}{{ x }}
{% raw %}{{ x }}{% if %}{% endraw %}
{%- raw -%}  a  {%- endraw -%}  b
{# comment #}a{#- c -#}  b  {# x
y #}
  {# indented #}  
  {% if t %}  
  x
  {% endif %}  
y
  {%+ if t %}x{% endif +%}
z
a  {{- 1 -}}  b {{ 2 }}
c
{{ 1 }}
 {{ 2 }}
{{- '\n' -}}  x
{% if t %}{% endif %}

two
{% break %}
{% endif %}
{% if t %}
{% for %}{% endfor %}
{% unknown %}
{{ 
{% if t %}x
{{ 'abc
{# open
{% set x = [1,
 2] %}{{ x }}
{% if not t %}a{% elif not e %}b{% endif %}
{% if messages[0]['role'] == 'user' %}{{ messages[0].content }}{% endif %}
{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ tools }}{{ documents }}
{{ raise_exception('bad') }}
{% if z %}{{ raise_exception('bad') }}{% endif %}ok
{{ strftime_now('%d %b %Y') }} {{ strftime_now("%Y-%m-%d %H:%M") }}
{% for x in l|sort %}{{ x }}{% endfor %}{% for x in l|reverse %}{{ x }}{% endfor %}{% for x in l[::-1] %}{{ x }}{% endfor %}
{% for m in messages %}{{ m.role }}:{{ m['content'] }}:{{ m.n }}:{{ m.n is defined }};{% endfor %}
{% for p in people if p.age is defined %}{{ p.name }}{% if not loop.last %}, {% endif %}{% endfor %}
{% set x = namespace(l=[]) %}{% for i in l %}{% set x.l = x.l + [i * 2] %}{% endfor %}{{ x.l }}
{% for i in l %}{{ i }}{% if loop.last %}!{% endif %}{% else %}no{% endfor %}{{ i }}{{ loop }}
{% for i in range(3) %}{% for j in range(i) %}{{ j }}{% else %}-{% endfor %}{% endfor %}
{% if (a is not defined) and t %}y{% endif %}
{% set a = 1 if z else 2 %}{{ a }}
{% set content = 'x' + messages[0].content | trim + 'y' %}{{ content }}
{%- set x = 'a' -%}{%- if x is string and x is not mapping -%}s{%- endif -%}
{% do l.append(1) %}
{{ l.append(1) }}
{{ d.update({'a': 1}) }}
{{ d.pop('a') }}
"""

EXPRESSIONS = r"""
1 + 2 * 3 - 4
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3
7.5 // 2, -7.5 // 2, 7.5 % 2, -7.5 % 2, 7 % 2.5
1 / 2, 4 / 2, 1 / 3
1 / 0
1 // 0
1 % 0
2 ** 10, 2 ** -1, 2 ** 0.5, 2 ** 3 ** 2
-2 ** 2
- 3 + 5, +4, -n, --n
1e3, 1.5e-7, 1_000, 0x1F, 0b101, 0o17, 1.0, 100000000000000000.0, 1e16, 123456789.125
0.1 + 0.2, 1e22, 1e-5, 0.0001, -0.0, 1.0e15
'a' + 'b', 'a' ~ 1 ~ none ~ true ~ 1.5 ~ missing ~ [1]
'a' + 1
1 + 'a'
'a' * 3, 3 * 'ab', 'a' * -1, [1] * 2, (1,) * 2
[1] + [2], (1,) + (2,)
[1] + (2,)
1 + none
none + 1
t + t, t * 5, t == 1, true + 1.5
1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2, 1 == 1.0 == true
1 == '1', 'a' == 'a', [1, 2] == [1, 2], [1] == (1,), {'a': 1} == {'a': 1.0}, none == none, missing == missing, none == missing
1 != 2, 'a' < 'b', 'B' < 'a', [1, 2] < [1, 3], (1, 2) < (1, 2, 3), 'é' > 'z'
'a' < 1
none < 1
[1] < 1
missing < 1
1 in l, 9 in l, 'a' in d, 'zz' in d, 'ell' in s, '' in s, 1 not in l, 'x' in missing, none in [none], 1.0 in l, true in [1]
1 in 'abc'
1 in 5
[1] in d
not t, not e, not missing, not [], not {}, not 0, not 0.0, not 'a', not none
t and e, e or 'x', t and 1 and 2, none or missing, z or e or l
1 if t, 1 if e else 2, 1 if e else 2 if z else 3, 1 if e
(1 if e) is defined
s[0], s[-1], s[1:4], s[::-1], s[::2], s[-3:], s[:-3], s[100], s[5:2], s[100:], s[-100:3]
s[1:10:3], s[10:1:-3], s[::-2], l[::-1], l[-2:], l[:1], l[5:], (1, 2, 3)[1:]
l[::0]
l['a'], l[1.5], l[9], l[-1], l[-9], l[t]
l['a':]
d['b'], d.b, d['items'], d.items is callable, d['zz'], d.zz, d.zz is defined, d.a[1], d['a'][0]
d.zz.q
missing.q
missing['q']
missing()
missing[1:]
none.q, none['q'], (1).q, t.q
none()
5()
'abc'.q, 'abc'['q'], 'abc'.upper(), 'abc'['upper']()
l.0, l.1, 'abc'.0
[], (), {}, (1,), (1, 2), [1, 'a', none, true, 1.5], {'a': 1, 2: 'b', none: (1,)}
{'a': 1, 'a': 2}, {1: 'a', true: 'b', 1.0: 'c'}
{[1]: 2}
{'a': 1}['a'], {'a': {'b': 2}}['a']['b'], {1: 'x'}[1], {1: 'x'}[1.0]
["it's", 'say "x"', 'both \' "', 'new\nline', 'tab\t', '\\', '\x00', '\u00e9', '\u200b', '\U0001F600', '\xa0', 'é']
'a\tb\\n\'\"\x41\u0042\101\q', "a'b", 'a' 'b' "c"
none, None, true, True, false, False, missing
d, l, mixed, people, e, f, z, n
range(3)|list, range(1, 4)|list, range(5, 0, -2)|list, range(0)|list
range(0, 5, 0)
range('a')
range(10**9)
dict(a=1, b='x'), dict({'a': 1}, b=2), dict([('x', 1)])
s.upper(), s.lower(), s.title(), s.capitalize(), 'ABC def'.swapcase(), "they're x1y".title()
s|upper, s|lower, s|title, s|capitalize, "they're (here) a-b c_d {x}"|title
'  a b '.strip(), '  a b '.lstrip(), '  a b '.rstrip(), 'xxaxx'.strip('x'), 'abcba'.strip('ab'), 'abc'.strip('')
text.strip(), text|trim, text.splitlines(), text.split(), text.split('\n'), text.split(none, 1)
'a,b,,c'.split(','), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), ' a  b '.split(' '), ''.split(','), ''.split(), 'abc'.split('abc')
'a b c d'.rsplit(none, 2), ' a b '.rsplit(none, 1), 'a b c'.split(maxsplit=1), 'a-b'.split(sep='-')
'a'.split('')
'a.b.c'.partition('.'), 'a.b.c'.rpartition('.'), 'abc'.partition('.'), 'abc'.rpartition('.')
'</think>x</think>y'.split('</think>')[-1].lstrip('\n')
'abc'.startswith('ab'), 'abc'.endswith('bc'), 'abc'.startswith(('x', 'a')), 'abc'.endswith(()), ''.startswith('')
'abc'.startswith(1)
'abcabc'.find('c'), 'abc'.find('x'), 'abcabc'.rfind('a'), 'äöü'.find('ü'), 'abc'.index('b')
'abc'.index('x')
'banana'.count('a'), 'banana'.count('ana'), 'abc'.count('')
'banana'.replace('a', 'o'), 'banana'.replace('a', 'o', 2), 'abc'.replace('', '-'), 'abc'.replace('', '-', 2), 'abc'.replace('b', '')
'banana'|replace('a', 'o'), 'banana'|replace('a', 'o', 1), 123|replace(2, 'x')
'-'.join(['a', 'b']), ''.join('abc'), ','.join([])
'-'.join([1])
'a{}b{}'.format(1, 'x'), '{0}{1}{0}'.format('a', 'b'), '{x}'.format(x=5), '{{}}'.format()
'{}'.format()
'%s-%s' % ('a', 1), '%d%%' % 5, '%s' % none, '%r' % 'a', '%.2f' is string
'%s' % ('a', 'b')
'%s %s' % 'a'
'%s-%d'|format('x', 3)
'abc'.removeprefix('a'), 'abc'.removesuffix('bc'), 'abc'.removeprefix('x')
'12'.isdigit(), 'ab'.isalpha(), 'a1'.isalnum(), ' '.isspace(), 'AB'.isupper(), 'ab'.islower(), ''.isdigit(), 'a b'.islower(), '1'.isupper()
d.keys()|list, d.values()|list, d.items()|list, d.get('b'), d.get('q'), d.get('q', 5)
d.get()
l.index(1), l.count(1), (1, 2, 1).count(1)
l.index(99)
l|length, s|length, d|length, e|length, missing|length, l|count
5|length
none|length
l|first, l|last, s|first, s|last, []|first, [][0], []|last
l|sort, l|sort(reverse=true), words|sort, words|sort(case_sensitive=true), people|sort(attribute='name')|map(attribute='name')|list
[1, 'a']|sort
[none, 1]|sort
l|join, l|join(', '), words|join('-'), people|join(',', attribute='name'), s|join('.'), []|join, missing|join
mixed|join('|'), [[1], none]|join
l|min, l|max, words|min, words|max, []|max, l|sum, people[:2]|sum(attribute='age'), [1.5, 2]|sum, []|sum
['a']|sum
words|unique|list, [1, 1.0, true, 2]|unique|list, ['A', 'a']|unique|list, ['A', 'a']|unique(true)|list
people|map(attribute='name')|list, people|map(attribute='age', default=0)|list, words|map('upper')|list, l|map('string')|join
words|map('replace', 'a', 'x')|list, [[1, 2], [3]]|map('length')|list, [' a ']|map('trim')|list, people|map(attribute='zz')|list
l|select('odd')|list, l|reject('odd')|list, mixed|select|list, mixed|reject|list, l|select('gt', 1)|list, l|select('in', [1, 2])|list
people|selectattr('age')|map(attribute='name')|list, people|rejectattr('age', 'defined')|list, people|selectattr('name', 'equalto', 'Bo')|list, people|selectattr('age', 'defined')|selectattr('age', '>', 5)|list
l|select('nosuch')|list
l|map('nosuch')|list
l|nosuch
l is nosuch
l|reverse|list, s|reverse, 'ab'|list, d|list, (1, 2)|list
l|batch(2)|list, l|batch(2, 0)|list
missing|default('x'), none|default('x'), none|default('x', true), e|default('x'), e|d('x', true), missing|default, d.zz|default('q'), z|default(5, boolean=true)
'42'|int, '4.7'|int, 'x'|int, 'x'|int(5), 4.9|int, -4.9|int, true|int, none|int, '0x1f'|int(0, 16), '1_0'|int, ' 7 '|int, '-3'|int, '1e3'|int, ''|int
'4.5'|float, 'x'|float, 3|float, 'x'|float(1.5), '1e3'|float, none|float, 'inf'|float, '-2'|float
missing|int
-5|abs, (-5)|abs, (-2.5)|abs, true|abs
2.5|round, 3.5|round, 2.675|round(2), 2|round, 2.1|round(method='ceil'), 2.9|round(0, 'floor'), 1.25|round(1)
1|string, none|string, [1]|string, missing|string, 1.0|string
'a'|safe
'a\nb\n\nc'|indent, 'a\nb'|indent(2, true), 'a\n\nb'|indent(2, blank=true), 'a\nb'|indent('> '), 'a\n'|indent, ''|indent, 'a\r\nb'|indent(1)
d|dictsort, {'B': 1, 'a': 2}|dictsort, {'B': 1, 'a': 2}|dictsort(true), {'b': 1, 'a': 2}|dictsort(by='value'), {'b': 1, 'a': 2}|dictsort(reverse=true)
d|items|list, missing|items|list
l|items|list
'<a href="x">&\'</a>'|e|string
'a b_c, d'|wordcount
people[0]|attr('name'), 'x'|attr('nosuch')
d|tojson, s|tojson, mixed|tojson, e|tojson, none|tojson, 1.0|tojson, 1e20|tojson, {}|tojson, []|tojson, (1, 2)|tojson
d|tojson(indent=2), []|tojson(indent=2), {}|tojson(indent=2), [[1], {}]|tojson(indent=4), [1]|tojson(indent=0), [1]|tojson(indent='--')
{'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true), d|tojson(separators=(',', ':')), s|tojson(ensure_ascii=true), '\U0001F600\x7f'|tojson(true)
{1: 2, none: 3, true: 4, 1.5: 5}|tojson, '\x00\x1f\x7f"\\/<>&\''|tojson, ['é\u2028']|tojson
missing|tojson
[missing]|tojson
(l|map('string'))|tojson
range(3)|list|tojson, namespace(a=1).a|tojson
1 is defined, missing is defined, missing is undefined, d.zz is defined, none is none, none is defined, 1 is none
'a' is string, 1 is string, 1 is number, 1.5 is number, true is number, 'a' is number, 1 is integer, true is integer, 1.0 is integer, 1.5 is float, 1 is float, true is boolean, 1 is boolean
d is mapping, l is mapping, l is sequence, s is sequence, d is sequence, 1 is sequence, (1,) is sequence, missing is sequence, none is sequence
l is iterable, s is iterable, d is iterable, 1 is iterable, none is iterable, missing is iterable, (l|map('string')) is iterable, (l|map('string')) is sequence
true is true, 1 is true, false is false, 0 is false, none is false
3 is odd, 4 is even, 3.0 is odd, -3 is odd, 9 is divisibleby 3, 9 is divisibleby(2)
'a' is odd
1 is eq 1, 1 is equalto 2, 1 is ne 2, 1 is lt 2, 1 is le 1, 2 is gt 1, 2 is ge 3, 1 is in [1], 'a' is in 'abc', 2 is not in [1]
'abc' is lower, 'ABC' is upper, 'aBc' is lower, '' is lower, 1 is lower
none is sameas none, 1 is sameas 1, true is sameas 1, 1 is not sameas 2
range is callable, 1 is callable, d.get is callable, 'upper' is filter, 'nosuch' is filter, 'odd' is test
1 is defined is defined
not 1 is defined, 1 is not defined, not missing is defined and t
1 is odd and 2 is even or missing is defined
1 | string | length, -1 | string, 'a' ~ 'b' | upper, ('a' ~ 'b') | upper, 1 + 2 | string
'a' 'b' | upper + 'c'
messages | length - 1, (messages|length) * 2, messages[-1].role, messages[messages|length - 1]['role']
messages[0].content.split('<|')[0] ~ '|', messages | map(attribute='role') | join(',')
messages|selectattr('role', 'equalto', 'user')|list|length, (messages|last).content, (messages|first)['role']
not(messages[0].content.startswith('Hi') and messages[0].content.endswith('>'))
t is true and (z == 0), (1, 2) == (1, 2), (1) is number
s | length > 3, 2 + l|length, l|length is odd
1,
1 2
1 +
(1
[1, 2
{'a' 1}
a b
'x' |
1 is
d.
1 = 2
f(1)
s.nosuch()
s.upper(1)
l|join(1, 2, 3, 4)
l|first(1)
''.join(l)
7 is divisibleby(0)
'a' if t else
[x for x in l]
l[1, 2], d['a', 'b']
t.__class__, s.__class__, s['__class__'], ''.__len__ is defined
(none, missing)|string, [missing]
[[], [[]]], {'a': {}}, ((),), [()], [(1,)]
'ÀÉ'.lower(), 'àé'|upper, 'ñandú'|capitalize, 'Ωμέγα'.upper(), 'ДА'|lower
'a\u00a0b'.split(), '\u2003x\u2003'.strip(), 'a\x1fb'.split(), 'a\x85b'.splitlines()
9007199254740993, 9223372036854775807, -9223372036854775807
1e400 is number, 5.0 // 2, 5 // 2.0, 2.0 ** 3, 10 ** 2, 0.5 == 1/2, 1e15 + 0.5, 1.0 + 1
namespace(a=1).b, namespace(a=1).b is defined, namespace(a=[1]).a[0]
loop, loop is defined
"a" in "abc" in ["abc"], 1 < 2 == 2, not 1 == 2, 1 in [1] == true
"""

VALUES = ["1", "0", "-2.5", "'a'", "''", "'1'", "true", "none", "missing",
          "[1, 'a']", "[]", "{'a': 1}", "(1, 2)"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and"]
FILTERS = ["upper", "trim", "length", "list", "first", "last", "join(',')",
           "string", "int", "float", "tojson", "sort", "reverse|list", "sum",
           "default('d')", "abs", "title", "unique|list", "items|list", "max",
           "indent", "replace('a', 'b')", "select|list", "dictsort", "round"]
TESTS = ["defined", "none", "string", "number", "integer", "float", "boolean",
         "mapping", "sequence", "iterable", "odd", "true", "false", "lower",
         "callable", "in [1, 'a']", "eq 1", "lt 2", "sameas none"]


def snippets():
    for line in STATEMENTS.strip("\n").split("\n"):
        yield line, INPUT
    # The same with real line ends, and several lines as one template.
    lines = STATEMENTS.strip("\n").split("\n")
    for line in lines:
        for old, new in (("%}", "%}\n"), ("{%", "\n  {%"), ("}}", "}}\n"),
                         ("{{", " \t{{")):
            if old in line:
                yield line.replace(old, new), INPUT
    yield "a\n", INPUT
    yield "a\n\n", INPUT
    yield "\r\na\rb\r\n", INPUT
    yield "", INPUT
    for line in EXPRESSIONS.strip("\n").split("\n"):
        yield "{{ " + line + " }}", INPUT
    for a, op, b in itertools.product(VALUES, OPERATORS, VALUES):
        if op != "**" or "2.5" not in a + b:
            yield f"{{{{ {a} {op} {b} }}}}", INPUT
    for v, f in itertools.product(VALUES, FILTERS):
        yield f"{{{{ ({v})|{f} }}}}", INPUT
    for v, t in itertools.product(VALUES, TESTS):
        yield f"{{{{ ({v}) is {t} }}}}", INPUT
