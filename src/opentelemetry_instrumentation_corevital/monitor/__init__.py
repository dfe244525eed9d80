"""`CoreVitalMonitor`: generation that is watched, judged and, if asked for, acted on."""
