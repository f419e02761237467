"""Texts of many kinds, for measuring how well tokens are estimated."""

import base64
import hashlib
import json
import random

_random = random.Random(7)  # noqa: S311 - the same texts each time

TEXTS: dict[str, str] = {
    "english": "The river had risen in the night, and by morning the lower meadow was a lake in which the fence posts stood like people who wait for a ferry. Nobody in the village remembered such a spring. They carried what they could up to the church, and then they sat on the wall and watched.",
    "german": "Der Fluss war in der Nacht gestiegen, und am Morgen war die untere Wiese ein See, in dem die Zaunpfähle wie Leute standen, die auf eine Fähre warten. Niemand im Dorf erinnerte sich an einen solchen Frühling. Rechtsschutzversicherungsgesellschaften und Donaudampfschifffahrtskapitäne zuckten mit den Schultern.",
    "french": "La rivière était montée pendant la nuit, et au matin le pré d'en bas n'était plus qu'un lac où les piquets de la clôture se tenaient comme des gens qui attendent le bac. Personne au village ne se souvenait d'un tel printemps.",
    "turkish": "Nehir gece boyunca yükselmişti ve sabahleyin aşağıdaki çayır, çit direklerinin vapur bekleyen insanlar gibi durduğu bir göle dönüşmüştü. Köyde kimse böyle bir bahar hatırlamıyordu.",
    "finnish": "Joki oli noussut yön aikana, ja aamulla alempi niitty oli järvi, jossa aidanseipäät seisoivat kuin lauttaa odottavat ihmiset. Kukaan kylässä ei muistanut sellaista kevättä.",
    "vietnamese": "Nước sông đã dâng lên trong đêm, và đến sáng thì đồng cỏ phía dưới đã thành một cái hồ, nơi những cọc hàng rào đứng như những người đang chờ phà.",
    "russian": "Ночью река поднялась, и к утру нижний луг превратился в озеро, в котором столбы забора стояли, как люди, ожидающие парома. Никто в деревне не помнил такой весны.",
    "greek": "Το ποτάμι είχε ανέβει τη νύχτα, και το πρωί το κάτω λιβάδι ήταν μια λίμνη μέσα στην οποία οι πάσσαλοι του φράχτη στέκονταν σαν άνθρωποι που περιμένουν το φέρι.",
    "arabic": "ارتفع منسوب النهر في الليل، وفي الصباح كان المرج السفلي بحيرة تقف فيها أعمدة السياج مثل أناس ينتظرون العبّارة. لم يتذكر أحد في القرية ربيعًا كهذا.",
    "hebrew": "הנהר עלה במשך הלילה, ובבוקר היה האחו התחתון לאגם שבו עמדו עמודי הגדר כמו אנשים הממתינים למעבורת.",
    "hindi": "रात में नदी का पानी बढ़ गया था, और सुबह तक निचला मैदान एक झील बन गया था जिसमें बाड़ के खंभे नाव की प्रतीक्षा करते लोगों की तरह खड़े थे।",
    "thai": "แม่น้ำเอ่อขึ้นในตอนกลางคืน และพอถึงเช้าทุ่งหญ้าด้านล่างก็กลายเป็นทะเลสาบที่เสารั้วยืนอยู่ราวกับผู้คนที่รอเรือข้ามฟาก",
    "chinese": "夜里河水上涨了,到了早晨,低处的草地成了一片湖,篱笆的木桩立在水中,像是等待渡船的人。村里没有人记得有过这样的春天。",
    "japanese": "夜のうちに川の水かさが増し、朝には下の牧草地が湖になって、柵の杭が渡し船を待つ人々のように立っていた。村の誰もこんな春を覚えていなかった。",
    "korean": "밤사이 강물이 불어났고, 아침이 되자 아래쪽 풀밭은 호수가 되어 울타리 말뚝들이 나룻배를 기다리는 사람들처럼 서 있었다.",
    "python": 'def taken(self, text: str, room: int) -> tuple[str, int]:\n    """As much of it as there is room for."""\n    taken = text if len(text) <= room else text[:room]\n    self._full = self._full or len(taken) < len(text)\n    for index, value in enumerate(sorted(self._parts.items(), key=lambda pair: pair[1])):\n        if not isinstance(value, dict) and value != {}:\n            raise ValueError(f\'{index}: {value!r}\')\n    return taken, room - len(taken)\n',
    "json": json.dumps(
        {
            "rows": [
                {
                    "id": i,
                    "price": round(_random.uniform(1, 900), 2),
                    "name": f"item-{i}",
                    "tags": ["a", "b"],
                    "ok": True,
                    "at": "2026-11-26T20:51:07Z",
                }
                for i in range(8)
            ]
        }
    ),
    "numbers": " ".join(str(_random.randint(0, 10**9)) for _ in range(40)),
    "decimals": json.dumps([[round(_random.uniform(-1, 1), 6) for _ in range(6)] for _ in range(10)]),
    "base64": base64.b64encode(_random.randbytes(300)).decode(),
    "hex": hashlib.sha512(b"x").hexdigest() * 2,
    "uuid": " ".join(f"{_random.getrandbits(128):032x}" for _ in range(6)),
    "upper": "WARNING: THE DISK OF THIS MACHINE IS FULL. DO NOT SWITCH IT OFF; CALL THE OPERATOR AND WAIT FOR HIS ANSWER. "
    * 2,
    "emoji": "😀🎉👩‍👩‍👧‍👦🏳️‍🌈✨🚀 ok 👍🏽🙏🏿❤️🔥💯 " * 4,
    "spaces": "a" + " " * 60 + "b\n\n\n\n\t\t\tc" + "\n    " * 20,
    "url": "https://example.org/a/b?c=1&d=%20x%C3%A4&utm_source=abc_def-123#frag-9 " * 3,
    "table": "| name | value |\n|---|---:|\n| alpha | 1,234.5 |\n| beta | 99.1% |\n" * 4,
    "symbols": "{}[]()<>+-*/=!?.,;:'\"\\|~`@#$%^&" * 6,
    "math": "∀x∈ℝ: ∃y ≥ 0 ⇒ ∑ᵢ αᵢ·βᵢ ≤ √(x²+y²) ± ∞ → ∅",
    "random": "".join(
        _random.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(300)
    ),
}
