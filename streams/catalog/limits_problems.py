"""What limits and alerting must be together: parents that cover their children, ids that name one thing, globs that match.

A problem begins with the section and the id of the entry, so that parse.py finds its file and line.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase

from streams.catalog.durations import duration_ms
from streams.catalog.limits import Budget, BurnRate, Exemption, Lifetime, Rolling, RunLimits
from streams.catalog.models import Catalog
from streams.catalog.prices import KNOWN_BUCKETS
from streams.tokens.buckets import NOT_TOKENS, SIDES

TENANT = "tenant_id"  # is in every scope, named or not
# What can be counted beside buckets; latencies as percentiles, repeats as the largest of one tool with the same arguments.
MEASURES = ("retries", "tool_calls", "errors", "throttled", "latency_ms", "time_to_first_token_ms", "repeats")
OF_TOKENS = {b for b in KNOWN_BUCKETS if b.startswith(SIDES) and b not in NOT_TOKENS}
MOST_SHARE = Decimal(10)  # of a limit; not in the model, so that what was published before still loads
SHARES = 'they are shares of it, write "0.8" for 80 %'
NO_RULE = "no budget, burn rate, run or rule has this id"
NAMING_ALERTS = ("budgets", "burn_rates", "runs", "rules")  # sections whose ids are those of alerts


def limits_problems(catalog: Catalog) -> list[str]:
    """Every problem of budgets, burn rates, runs, rules, exceptions and silences, a line each."""
    budgets = {b.id: b for b in catalog.budgets}
    runs = {r.id: r for r in catalog.runs}
    found = list(_shared_ids(catalog))
    for budget in catalog.budgets:
        found += _of_budget(budget, budgets)
    for run in catalog.runs:
        found += _of_run(run)
    for rule in catalog.rules:
        if rule.kind == "low_usage" and isinstance(rule.period, Rolling):
            found.append(f'rules {rule.id}: period is rolling, low_usage judges whole ones; write kind = "calendar"')
    for burn_rate in catalog.burn_rates:
        found += _of_burn_rate(burn_rate, budgets)
    for exception in catalog.exceptions:
        if why := exception_misfit(exception, budgets, runs):
            found.append(f"exceptions {exception.id}: {why}")
    return [*found, *_of_matches(catalog)]


def _of_run(run: RunLimits) -> Iterator[str]:
    if not _named(run.each, {}):
        yield f"runs {run.id}: each names the tenant alone, which never ends; name what a run is, run_id"
    if run.idle == 0:
        yield f"runs {run.id}: idle is 0, so that every request is a run of its own; give the longest pause within a run"
    for name in ("cost", "elapsed"):
        if getattr(run, name) == 0:
            yield f"runs {run.id}: {name} is 0, which stops every run at its first request; give more, or leave it out"
    if run.warn_at > 1:
        yield f"runs {run.id}: warn_at is {run.warn_at:f}, which is above every limit; {SHARES}"


def _of_matches(catalog: Catalog) -> Iterator[str]:
    """A slip in an id would match nothing, silently."""
    known = named_rules(catalog)
    for section in ("silences", "maintenance", "routes"):
        for one in getattr(catalog, section):
            for name in (n for n in one.match.rules if n not in known):
                yield f"{section} {one.id}: match names {name}; {NO_RULE}, {near(name, known)}"


def named_rules(catalog: Catalog) -> set[str]:
    """The ids by which alerts are named."""
    return {x.id for section in NAMING_ALERTS for x in getattr(catalog, section)}


def _shared_ids(catalog: Catalog) -> Iterator[str]:
    """Alerts, silences and acknowledgements name a thing by its id alone."""
    holders = defaultdict[str, list[str]](list)
    for section in NAMING_ALERTS:
        for name in dict.fromkeys(x.id for x in getattr(catalog, section)):
            holders[name].append(section)
    for name, sections in holders.items():
        for section in sections[1:]:
            yield f"{section} {name}: {sections[0]} has this id too; rename one, alerts are named by it"


def _named(each: Iterable[str], where: Mapping[str, str]) -> set[str]:
    """The dimensions that tell a scope from others of its tenant."""
    return {*each, *where} - {TENANT}


def _of_budget(budget: Budget, budgets: Mapping[str, Budget]) -> Iterator[str]:
    name = f"budgets {budget.id}"
    if isinstance(budget.period, Lifetime) and not _named(budget.each, {}):
        yield f"{name}: period is a lifetime and each is empty: it would never end; name what lives, such as run_id"
    if len(set(budget.thresholds)) < len(budget.thresholds):
        yield f"{name}: thresholds name one share twice, {', '.join(map(str, budget.thresholds))}; write each once"
    if budget.split and budget.split.by == TENANT:
        yield f"{name}: split is by {TENANT}, whose scopes nobody may share; write a budget for each tenant instead"
    if not budget.tenant:
        yield f"{name}: tenant is empty; leave it out for every tenant, or name one"
    if (most := max(budget.thresholds)) > MOST_SHARE:
        yield f"{name}: thresholds go up to {most:f}, that is {most * 100:,f} % of the limit; {SHARES}"
    yield from _globs(name, "buckets", budget.buckets, OF_TOKENS)
    yield from _globs(name, "measures", budget.measures, {*KNOWN_BUCKETS, *MEASURES})
    if budget.guard_tokens is not None and budget.unit != "cost":
        yield f"{name}: guard_tokens stand for money that is unknown, unit is {budget.unit}; leave guard_tokens out"
    if budget.parent is None:
        return
    parent = budgets.get(budget.parent)
    if parent is None:
        yield f"{name}: parent {budget.parent} is unknown; {near(budget.parent, budgets.keys() - {budget.id})}"
        return
    way = _way_up(budget, budgets)
    if budget.id in way[1:]:
        if budget.id == min(way):  # once for each cycle
            yield f"{name}: parent {parent.id} leads back to it ({' > '.join(way)}); leave one parent out"
        return
    yield from (f"{name}: parent {parent.id} {why}" for why in _uncovered(budget, parent))


def _way_up(budget: Budget, budgets: Mapping[str, Budget]) -> list[str]:
    """The ids from a budget upwards, until there is no parent or one comes again."""
    way, at = [budget.id], budget
    while at.parent is not None and at.parent in budgets:
        way.append(at.parent)
        if at.parent in way[:-1]:
            break
        at = budgets[at.parent]
    return way


def _uncovered(child: Budget, parent: Budget) -> Iterator[str]:
    """Why a scope of the child is not a part of exactly one scope of the parent."""
    if parent.unit != child.unit:
        yield f"counts {parent.unit}, this counts {child.unit}; give both the same unit"
    elif child.unit == "cost" and parent.currency != child.currency:
        yield f"is in {parent.currency}, this is in {child.currency}; give both the same currency"
    elif parent.buckets and parent.buckets != child.buckets:
        yield f"counts {', '.join(parent.buckets)} alone; give both the same buckets, or the parent none"
    if parent.tenant not in {"*", child.tenant}:
        yield f"is for tenant {parent.tenant}, this is for {child.tenant}; give both the same tenant"
    own = _named(child.each, child.where)
    if lacks := sorted(_named(parent.each, {}) - own):  # a split does not help: its "*" is many of the parent's scopes
        yield f"holds for each {', '.join(lacks)}, which this does not tell apart; add it to each or where"
    if parent.split and parent.split.by not in own:
        listed = set(child.split.shares) if child.split and child.split.by == parent.split.by else set()
        if lacks := sorted(set(parent.split.shares) - listed - {"*"}):
            yield f"has a share of {', '.join(lacks)} by {parent.split.by}, which this does not tell apart; add them to split"
    for dimension, value in sorted(parent.where.items()):
        if child.where.get(dimension) != value:
            yield f"is only of {dimension} = {value}; add it to where, or choose another parent"


def _of_burn_rate(burn_rate: BurnRate, budgets: Mapping[str, Budget]) -> Iterator[str]:
    name = f"burn_rates {burn_rate.id}"
    budget = budgets.get(burn_rate.budget)
    if budget is None:
        yield f"{name}: budget {burn_rate.budget} is unknown; {near(burn_rate.budget, budgets)}"
    elif budget.limit is None:
        yield f"{name}: budget {budget.id} has no limit, so no speed is too fast; give it a limit"
    elif isinstance(budget.period, Lifetime):
        yield f"{name}: budget {budget.id} lasts a lifetime, which has no even speed; give it a calendar or rolling period"
    for pair, n in Counter((w.long, w.short) for w in burn_rate.windows).items():
        if duration_ms(pair[1]) >= duration_ms(pair[0]):
            yield f"{name}: windows {pair[0]}/{pair[1]}: short is not shorter than long; take a twelfth of it"
        if n > 1:
            yield f"{name}: windows {pair[0]}/{pair[1]} are given {n} times; leave one, alerts are named by them"


def exception_misfit(
    exception: Exemption, budgets: Mapping[str, Budget], runs: Mapping[str, RunLimits] | None = None
) -> str:
    """Why an exception raises the limit of no scope; empty when it fits. It raises the cost of runs, of budgets any unit."""
    budget = budgets.get(exception.budget) or (runs or {}).get(exception.budget)
    if budget is None:
        return f"budget {exception.budget} is unknown; {near(exception.budget, {**budgets, **(runs or {})})}"
    split = {budget.split.by} if isinstance(budget, Budget) and budget.split else set()
    if (budget.cost if isinstance(budget, RunLimits) else budget.limit) is None:
        return f"budget {budget.id} has no limit that could be raised; give it one, or leave the exception out"
    if budget.tenant not in {"*", exception.tenant}:
        return f"budget {budget.id} is for tenant {budget.tenant}, not for {exception.tenant}; mend tenant"
    if isinstance(budget, Budget) and budget.split:
        consumer, listed = exception.where.get(budget.split.by), budget.split.shares
        if consumer is not None and consumer not in listed:
            said = "it counts with the others, write *" if "*" in listed else near(consumer, listed)
            return f"where says {budget.split.by} = {consumer}, of which budget {budget.id} has no share; {said}"
    wanted, given = _named(budget.each, {}) | split, _named((), exception.where)
    if lacks := sorted(wanted - given):
        return f"where lacks {', '.join(lacks)}: budget {budget.id} holds for each; name the one that is meant"
    for dimension in sorted(given - wanted):
        own = budget.where.get(dimension)
        if own is None:
            return f"where names {dimension}, by which budget {budget.id} does not hold; leave it out"
        if own != exception.where[dimension]:
            return f"where says {dimension} = {exception.where[dimension]}, budget {budget.id} is of {own}; mend it"
    if exception.where.get(TENANT, exception.tenant) != exception.tenant:
        return f"where says tenant_id = {exception.where[TENANT]}, tenant is {exception.tenant}; leave it out of where"
    return ""


def _globs(name: str, key: str, globs: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    names = sorted(known)
    for glob in globs:
        if not any(fnmatchcase(one, glob) for one in names):
            yield f"{name}: {key} names {glob}, which no usage has; {near(glob, names)}"


def near(word: str, known: Iterable[str]) -> str:
    """The remedy for a name that nobody knows: the one that is like it, else those that there are."""
    names = sorted(known)
    near = get_close_matches(word, names, 1)
    return (
        f"is it {near[0]}?" if near else f"write one of {', '.join(names[:12])}" if names else "add it, or leave it out"
    )
