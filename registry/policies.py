"""The operator's policy in force, and its history: rows that are only ever added."""

from dataclasses import replace

from django.conf import settings
from django.db import IntegrityError, transaction

from registry.models import PolicyVersion
from registry.policy import Policy, PolicyInvalid, policy_from, weakenings
from secai_site.kernel.audit.log import record
from secai_site.kernel.errors import Conflict, InvalidRequest, ServiceError


class PolicyBroken(ServiceError):
    """The stored policy cannot be read; nothing is admitted until an operator saves a good one."""

    status = 503
    code = "policy.broken"


def current() -> tuple[Policy, int]:
    """The policy in force and its number; 0 is the one that the environment gives, before any was saved."""
    row = PolicyVersion.objects.first()
    if row is None:
        return from_environment(), 0
    try:
        return tightened(policy_from(row.document)), row.number
    except PolicyInvalid as error:
        raise PolicyBroken(
            f"The policy for models cannot be read ({error}). Save a good one in the admin; "
            "until then nothing is admitted."
        ) from error


def current_or_default() -> tuple[Policy, int]:
    """Like `current`, for who is about to save a good one in place of one that cannot be read."""
    try:
        return current()
    except PolicyBroken:
        newest = PolicyVersion.objects.first()
        return from_environment(), newest.number if newest else 0


def from_environment() -> Policy:
    """The policy of a new box: SECAI_LOCAL_IMPORT and SECAI_PROMOTION, and the defaults."""
    return Policy(local_import=settings.LOCAL_IMPORT, promotion=settings.PROMOTION)


def tightened(policy: Policy) -> Policy:
    """The policy, never weaker than what SECAI_LOCAL_IMPORT and SECAI_PROMOTION say."""
    return replace(
        policy,
        local_import=policy.local_import and settings.LOCAL_IMPORT,
        promotion="manual" if settings.PROMOTION == "manual" else policy.promotion,
    )


@transaction.atomic(durable=True)
def save(*, document: object, base: int, actor: str, note: str = "") -> PolicyVersion:
    """Put a new version in force; `base` is the number that its author had in mind.

    Raises `InvalidRequest` for a document that is no policy (the old one stays) and `Conflict` when somebody else
    saved meanwhile.
    """
    try:
        policy = policy_from(document)
    except PolicyInvalid as error:
        raise InvalidRequest(str(error), code="policy.invalid") from error
    newest = PolicyVersion.objects.select_for_update().first()
    number = newest.number if newest else 0
    if number != base:
        raise _changed_meanwhile()
    old = policy_from(newest.document) if newest and _is_good(newest) else from_environment()
    row = _insert(number + 1, policy, actor, note)
    record(
        "registry.policy:saved", actor=actor, target=f"policy:{row.number}",
        detail={"sha256": row.sha256, "weaker": len(weakenings(old, policy))},
    )  # fmt: skip
    return row


def _insert(number: int, policy: Policy, actor: str, note: str) -> PolicyVersion:
    try:
        with transaction.atomic():
            return PolicyVersion.objects.create(
                number=number, document=policy.document(), sha256=policy.sha256, note=note[:200], author=actor
            )
    except IntegrityError:  # PostgreSQL lets two look at the newest in turn, and gives both the same
        raise _changed_meanwhile() from None


def _changed_meanwhile() -> Conflict:
    return Conflict("Somebody else changed the policy meanwhile. Look at it again.", code="policy.changed")


def _is_good(row: PolicyVersion) -> bool:
    try:
        policy_from(row.document)
    except PolicyInvalid:
        return False
    return True
