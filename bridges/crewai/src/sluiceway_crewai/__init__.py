"""What a CrewAI crew does, as agent events of Sluiceway."""

from sluiceway_crewai.listening import publish_crew_events

__all__ = ["publish_crew_events"]
