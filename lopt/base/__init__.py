"""What every folder uses: errors, parts by name, files that are whole or absent, schedules."""
