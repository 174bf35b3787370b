"""What the example shop's customers do on that day. Nothing here says what Dangol will make of it.

Times are the shop's, on the first day; hours beyond 24 are the next day's. Every customer is made
up: an id, an address under example.com and a number that nobody has.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.cli.demo.words import Language, Words

OPENS = timedelta(hours=8, minutes=30)
ENDS = timedelta(hours=24 + 9, minutes=45)
NIGHT_FROM = timedelta(hours=20, minutes=50)
NIGHT_TO = timedelta(hours=24 + 8)

BOUNCES = "customer-10@example.com"
SHOP = "shop"

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Something a customer does: one HTTP request, and how it is told."""

    at: timedelta
    customer: str
    told: str
    path: str
    body: Body

    @property
    def message_ids(self) -> tuple[str, ...]:
        events = self.body.get("batch", (self.body,))
        return tuple(event["messageId"] for event in events)


TEAPOT = Words("celadon teapot", "청자 찻주전자")
MUG = Words("moon mug", "달빛 머그")
TRAY = Words("walnut tray", "호두나무 쟁반")
TEA = Words("Ujeon green tea", "우전 녹차")
BUCKWHEAT = Words("buckwheat tea", "메밀차")
JAR = Words("moon jar", "달항아리")
BOWL = Words("rice bowl", "밥그릇")
TEA_SET = Words("tea set for two", "2인 다기 세트")
RICE_CAKES = Words("rice cakes", "콩떡")


class Script:
    """Writes the acts down; message ids are those of an SDK that counts."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._ids = 0

    def acts(self) -> list[Act]:
        acts = [*self._morning(), *self._afternoon(), *self._evening(), *self._next_morning()]
        return sorted(acts, key=lambda act: act.at)

    def introductions(self) -> Act:
        """Those whom the shop knew before the day, in one batch."""
        people: Mapping[int, dict[str, Any]] = {
            2: _mail(2) | {"push_token": "example-token-02"} | _agreed("email", "push"),
            3: _mail(3) | _agreed("email"),
            4: _mail(4),
            6: _mail(6) | {"phone": "010-0000-0006", "tier": "vip"} | _agreed("email", "sms"),
            9: _agreed("email"),
            10: _mail(10) | {"phone": "010-0000-0010"} | _agreed("email"),
            11: _mail(11),
            12: _mail(12) | {"phone": "010-0000-0012", "tier": "gold"} | _agreed("email", "sms"),
        }
        batch = [self._identify(number, traits) for number, traits in people.items()]
        told = Words(f"tells of {len(people)} customers", f"기존 고객 {len(people)}명의 정보 전송")
        return Act(OPENS, SHOP, told.of(self._language), "/v1/batch", {"batch": batch})

    def _morning(self) -> Iterator[Act]:
        yield self._signs_up("08:40", 1)
        yield self._receives("08:50", 12, "E-1001", RICE_CAKES, "fresh")
        yield self._signs_up("09:00", 7)
        yield self._puts("09:10", 2, "cart-02", TEAPOT, 38_000)
        yield self._puts("09:20", 1, "cart-01", MUG, 24_000)
        yield self._buys("09:50", 1, "cart-01", "E-1002", MUG, 24_000)
        yield self._puts("10:00", 3, "cart-03a", BOWL, 18_000)
        yield self._signs_up("10:10", 5)
        yield self._puts("10:20", 3, "cart-03b", TRAY, 52_000)
        yield self._puts("10:40", 4, "cart-04", TEA, 21_000)
        yield self._buys("10:30", 3, "cart-03a", "E-1003", BOWL, 18_000)
        yield self._signs_up("10:50", 8)
        yield self._puts("11:40", 8, "cart-08a", TEAPOT, 38_000)
        yield self._puts("11:50", 9, "cart-09", BUCKWHEAT, 12_000)

    def _afternoon(self) -> Iterator[Act]:
        yield self._opts_out("12:10", 5)
        yield self._puts("12:30", 10, "cart-10", TEA, 21_000)
        yield self._puts("13:00", 5, "cart-05", MUG, 24_000)
        yield self._puts("13:20", 6, "cart-06a", TEA_SET, 96_000)
        yield self._puts("13:30", 8, "cart-08b", BOWL, 18_000)
        yield self._puts("14:30", 7, "cart-07", JAR, 120_000)
        yield self._buys("15:00", 6, "cart-06a", "E-1004", TEA_SET, 96_000)
        order = self._buys("16:40", 2, "cart-02", "E-1005", TEAPOT, 38_000, batch=True)
        yield order
        yield self._repeats("16:50", order)
        yield self._empties("18:20", 7, "cart-07")

    def _evening(self) -> Iterator[Act]:
        yield self._puts("19:55", 12, "cart-12", TRAY, 52_000)
        yield self._puts("20:05", 6, "cart-06b", JAR, 120_000)
        yield self._buys("22:20", 12, "cart-12", "E-1006", TRAY, 52_000)
        yield self._buys("22:40", 10, "cart-10", "E-1007", TEA, 21_000)
        yield self._buys("23:10", 11, "cart-11", "E-1008", BUCKWHEAT, 12_000)

    def _next_morning(self) -> Iterator[Act]:
        yield self._buys("30:40", 4, "cart-04", "E-1009", TEA, 21_000)

    def _signs_up(self, at: str, number: int) -> Act:
        """The SDK says in one batch who it is and what happened."""
        told = Words("signs up, agrees to e-mail", "회원 가입, 이메일 수신 동의")
        who = self._identify(number, _mail(number) | _agreed("email"))
        act = self._track(at, number, told, "Signed Up", {})
        return Act(act.at, act.customer, act.told, "/v1/batch", {"batch": [who, act.body]})

    def _receives(self, at: str, number: int, order: str, item: Words, category: str) -> Act:
        told = Words(f"receives an earlier order ({item.en})", f"지난 주문 배송 완료: {item.ko}")
        properties = {"order_id": order, "name": self._name(number, item), "category": category}
        return self._track(at, number, told, "Delivery Completed", properties)

    def _puts(self, at: str, number: int, cart: str, item: Words, price: int) -> Act:
        told = Words(
            f"puts a {item.en} in the cart ({price:,} won)",
            f"장바구니 담기: {item.ko} {price:,}원",
        )
        properties = {"cart_id": cart, "name": self._name(number, item), "price": price}
        return self._track(at, number, told, "Product Added", properties)

    def _empties(self, at: str, number: int, cart: str) -> Act:
        told = Words("empties the cart", "장바구니 비우기")
        return self._track(at, number, told, "Cart Emptied", {"cart_id": cart})

    def _buys(
        self,
        at: str,
        number: int,
        cart: str,
        order: str,
        item: Words,
        price: int,
        *,
        batch: bool = False,
    ) -> Act:
        told = Words(f"buys the {item.en}", f"주문: {item.ko}")
        properties = {
            "cart_id": cart,
            "order_id": order,
            "total": price,
            "items": [{"name": self._name(number, item), "quantity": 1, "price": price}],
        }
        act = self._track(at, number, told, "Order Completed", properties)
        if not batch:
            return act
        page = {
            "type": "page",
            "messageId": self._id(),
            "userId": act.customer,
            "name": "Thank you",
        }
        return Act(act.at, act.customer, act.told, "/v1/batch", {"batch": [act.body, page]})

    def _repeats(self, at: str, order: Act) -> Act:
        """An SDK that heard no answer posts the same batch, with the same message ids."""
        told = Words("the SDK posts that batch again, to be sure", "SDK가 같은 배치를 다시 전송")
        return Act(_time(at), order.customer, told.of(self._language), order.path, order.body)

    def _opts_out(self, at: str, number: int) -> Act:
        told = Words("opts out of e-mail", "이메일 수신 거부")
        body = self._identify(number, {"consent": {"email": False}})
        return Act(_time(at), _customer(number), told.of(self._language), "/v1/identify", body)

    def _track(self, at: str, number: int, told: Words, event: str, properties: Body) -> Act:
        body = {
            "type": "track",
            "messageId": self._id(),
            "userId": _customer(number),
            "event": event,
            "properties": properties,
        }
        return Act(_time(at), _customer(number), told.of(self._language), "/v1/track", body)

    def _identify(self, number: int, traits: Body) -> dict[str, Any]:
        customer = _customer(number)
        return {
            "type": "identify",
            "messageId": self._id(),
            "userId": customer,
            "traits": {"locale": self._locale(customer), **traits},
        }

    def _id(self) -> str:
        self._ids += 1
        return f"demo-{self._ids:03}"

    def _locale(self, customer: str) -> Language:
        """One customer speaks the other language."""
        if customer == "customer-07":
            return "en" if self._language == "ko" else "ko"
        return self._language

    def _name(self, number: int, item: Words) -> str:
        return item.of(self._locale(_customer(number)))


def _customer(number: int) -> str:
    return f"customer-{number:02}"


def _mail(number: int) -> dict[str, Any]:
    return {"email": f"{_customer(number)}@example.com"}


def _agreed(*channels: str) -> dict[str, Any]:
    return {"consent": dict.fromkeys(channels, True)}


def _time(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


def posted(acts: Iterable[Act]) -> list[str]:
    """The message ids of all events, in order; one that is posted twice stands here twice."""
    return [name for act in acts for name in act.message_ids]
