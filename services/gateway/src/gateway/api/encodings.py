"""What a client takes, by its Accept-Encoding."""


def takes(encoding: str, accepted: str) -> bool:
    for part in accepted.split(","):
        name, _, parameters = part.strip().partition(";")
        if name.strip().lower() == encoding:
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
