"""Words that invented values are made of. No list holds a word twice; all are ASCII and short."""

from __future__ import annotations

from typing import Final

FIRST_NAMES: Final = tuple("""
Ada Albert Alma Amir Anders Anita Arthur Aya Bela Bruno Carla Cedric Chidi Clara Dario Dina Edgar Elif Elena Emil
Esther Fabio Farah Felix Flora Gavin Greta Hana Hector Hilda Ilya Ingrid Isaac Ivana Jonas Judith Kamal Karin Kofi
Laila Leon Linus Lotte Luca Magda Malik Marta Milan Mina Nadia Nils Nora Olaf Omar Paula Pedro Priya Quentin Rita
Rosa Rufus Sanna Sergio Silvia Tariq Tessa Theo Ulla Vera Viktor Wanda Wilma Xenia Yusuf Zelda Zoltan
""".split())

LAST_NAMES: Final = tuple("""
Abbott Albrecht Almeida Anand Aydin Bakker Barlow Becker Benson Bianchi Brandt Carver Castillo Chandra Conti Crane
Dalton Demir Dubois Eklund Endo Farrell Ferreira Fischer Fuentes Garner Gomes Graf Hansen Harlow Hoffman Ibarra
Ismail Jansen Jensen Kaplan Keller Kowal Kumar Larsen Lehmann Lindgren Lombardi Maier Marsh Mendez Moreau Nakata
Navarro Novak Okafor Olsen Osman Palmer Petrov Quinn Ramos Renner Rossi Santos Sawyer Schmitt Serrano Sharma Tanaka
Thorne Turner Ueda Vargas Vogel Walker Weber Winter Yilmaz Zeller Ziegler
""".split())

CITIES: Final = tuple("""
Ashford Aldermoor Birchwood Brackley Bridgeton Calderfield Cedarville Claymont Copperhill Crestview Dunmore Eastbrook
Elmhurst Fairhaven Fernley Foxbridge Glenwood Graypoint Greenfield Hartwell Hazelton Highcliff Hollowbrook Ironvale
Juniper Kingsmere Lakemont Larkspur Lindenau Lowfield Maplewood Marlow Millbrook Mossvale Newbury Northgate Oakdale
Oldcastle Orchard Pinehurst Queensferry Ravensworth Redwater Riverton Rockport Rosedale Saltmarsh Seabrook Silverton
Southwick Stonebridge Summerfield Sunnydale Thornbury Tidewater Underhill Valleyview Waterford Westbrook Whitecliff
Willowdale Windmere Woodstock Yarrow
""".split())

PLAIN_WORDS: Final = tuple("""
acorn amber anchor apple arrow aspen autumn bamboo basin beacon birch breeze bridge brook cabin candle canyon cedar
cherry cliff clover cobalt copper coral cotton crystal dawn delta desert drift eagle ember falcon fern field forest
garden ginger glacier granite harbor hazel heron hollow indigo island ivory jasper kestrel lagoon lantern laurel
lemon linen lunar maple marble meadow mist morning mossy nectar north oasis ocean olive orbit otter pebble pepper
pine plain planet poplar prairie quartz quiet rain ridge river robin saddle sage sand shell silver slate spruce stone
stream summit sunset thistle thunder timber tulip valley velvet violet walnut water willow window winter yonder
""".split())
